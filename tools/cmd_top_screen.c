/*
 * cmd_top_screen.c - `ppdb top` on a terminal: rows, keys, resizing. The only file of ppdb that uses curses (Debian: libncurses-dev).
 *
 * The terminal is given back on every way out: quitting, signals that end a process, and faults of our own (a handler writes the terminal's own
 * sequences and restores its modes; both are safe there). Only SIGKILL leaves it as it is; `reset` helps then.
 */
#include "tools/cmd_top.h"

#include <curses.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

static volatile sig_atomic_t ended;
static struct termios modes;
static char goodbye[128];              /* what makes the terminal as it was */

static const char *const help_rows[] = {
	"q       quit",
	"< >     sort clients by the column to the left, to the right;  r  the other way round",
	"P O R W S H M   sort by pid, operations, reads, writes, slots, held, pins",
	"v       show the shards, or not",
	"up down page-up page-down   move through the clients",
	"+ -     longer, shorter interval;  space  look now;  p  pause",
	"h ?     this text",
	"",
	"Latencies are those of the last interval; in brackets since ever, when nothing was timed in it: one operation in 32 is, one get in 256.",
	"HELD and SNAPSHOT: for how long a client has kept memory from being freed; PINS: how much. STATE: where a thread stands that has",
	"not moved since the last look; 'waits' is for durability.",
	NULL,
};

static void on_end(int sig)
{
	ended = sig;
}

static void on_fault(int sig)
{
	ssize_t n = write(STDOUT_FILENO, goodbye, strlen(goodbye));

	(void)n;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &modes);
	raise(sig); /* SA_RESETHAND: the default now */
}

static void catch_signals(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}, faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	struct sigaction end = {.sa_handler = on_end}, fault = {.sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND};

	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &end, NULL);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigaction(faults[i], &fault, NULL);
}

/* A capability of the terminal, without delays. */
static void add_capability(const char *name)
{
	const char *text = tigetstr((char *)(uintptr_t)name);
	size_t n = strlen(goodbye);

	if (text && text != (char *)-1 && !strchr(text, '<'))
		snprintf(goodbye + n, sizeof(goodbye) - n, "%s", text);
}

static void close_screen(void)
{
	if (!isendwin())
		endwin();
}

static bool open_screen(void)
{
	tcgetattr(STDIN_FILENO, &modes);
	if (!newterm(NULL, stdout, stdin))
		return false;
	add_capability("sgr0");
	add_capability("rmcup");
	add_capability("rmkx");
	add_capability("cnorm");
	atexit(close_screen);
	catch_signals();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(100);
	curs_set(0);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
	}
	return true;
}

static attr_t attribute(enum pp_top_style style)
{
	switch (style) {
	case PP_TOP_TITLE: return A_BOLD;
	case PP_TOP_HEADING: return A_REVERSE;
	case PP_TOP_ALERT: return has_colors() ? COLOR_PAIR(1) | A_BOLD : A_BOLD;
	default: return A_NORMAL;
	}
}

static void put_row(int y, enum pp_top_style style, const char *text)
{
	int n = (int)strlen(text);

	attrset(attribute(style));
	mvaddnstr(y, 0, text, COLS);
	if (style == PP_TOP_HEADING && n < COLS)
		hline(' ' | A_REVERSE, COLS - n);
}

/* Clients scroll; what stands above them stays. */
static void draw(struct pp_top *t, const struct pp_top_rows *rows)
{
	unsigned room = LINES > (int)rows->head ? (unsigned)LINES - rows->head : 0, scrolled = rows->count - rows->head;

	if (t->first + room > scrolled)
		t->first = scrolled > room ? scrolled - room : 0;
	erase();
	for (unsigned i = 0; i < rows->head && (int)i < LINES; i++)
		put_row((int)i, rows->row[i].style, rows->row[i].text);
	for (unsigned i = 0; i < room && rows->head + t->first + i < rows->count; i++)
		put_row((int)(rows->head + i), rows->row[rows->head + t->first + i].style, rows->row[rows->head + t->first + i].text);
	refresh();
}

static void draw_help(void)
{
	erase();
	put_row(0, PP_TOP_TITLE, "ppdb top - keys (any key goes back)");
	for (int i = 0; help_rows[i]; i++)
		put_row(i + 2, PP_TOP_PLAIN, help_rows[i]);
	refresh();
}

static unsigned column_count(void)
{
	unsigned n = 0;

	while (pp_top_columns[n])
		n++;
	return n;
}

static void sort_by(struct pp_top *t, int key)
{
	static const char keys[] = "PORWSHM";
	static const unsigned column[] = {0, 1, 2, 3, 4, 5, 7};
	const char *at = strchr(keys, key);

	if (at && *at)
		t->sort = column[at - keys];
}

static void scroll_by(struct pp_top *t, int by)
{
	t->first = by < 0 && t->first < (unsigned)-by ? 0 : t->first + (unsigned)by;
}

/* What a key does; true: a new look is wanted now. */
static bool press(struct pp_top *t, int key, bool *help)
{
	if (*help && key != KEY_RESIZE) {
		*help = false;
		return false;
	}
	switch (key) {
	case 'q': ended = -1; break;
	case 'h': case '?': *help = true; break;
	case '<': t->sort = (t->sort + column_count() - 1) % column_count(); break;
	case '>': t->sort = (t->sort + 1) % column_count(); break;
	case 'r': t->reverse = !t->reverse; break;
	case 'v': t->shards = !t->shards; break;
	case 'p': t->paused = !t->paused; break;
	case '+': t->interval = fmin(t->interval * 2, INTERVAL_MAX); break;
	case '-': t->interval = fmax(t->interval / 2, INTERVAL_MIN); break;
	case KEY_UP: scroll_by(t, -1); break;
	case KEY_DOWN: scroll_by(t, 1); break;
	case KEY_PPAGE: scroll_by(t, -LINES / 2); break;
	case KEY_NPAGE: scroll_by(t, LINES / 2); break;
	case ' ': return true;
	default: sort_by(t, key);
	}
	return false;
}

/* Handles keys until the next look is due. */
static void wait_keys(struct pp_top *t, struct pp_top_rows *rows, uint64_t due)
{
	bool help = false, now = false;

	while (!ended && !now) {
		uint64_t at = pp_now_ns();
		int key;

		if (at >= due && !t->paused && !help)
			return;
		timeout(help || t->paused || due - at > 1000 * PP_NS_PER_MS ? 1000 : (int)((due - at) / PP_NS_PER_MS) + 1);
		key = getch();
		if (key == ERR)
			continue;
		now = press(t, key, &help);
		if (help) {
			draw_help();
		} else {
			pp_top_rows(t, rows);
			draw(t, rows);
		}
	}
}

int pp_top_screen(struct pp_top *t, uint64_t count)
{
	static struct pp_top_rows rows;

	if (!open_screen()) {
		pp_cmd_note(t->c, "this terminal ($TERM is '%s') is not known to curses: set TERM, or use --batch", getenv("TERM") ? getenv("TERM") : "");
		return PP_EXIT_ERROR;
	}
	for (uint64_t i = 0; !ended && (!count || i < count); i++) {
		if (!pp_top_take(t)) {
			close_screen();
			return pp_cmd_fail(t->c, -ENOMEM, NULL);
		}
		pp_top_rows(t, &rows);
		draw(t, &rows);
		wait_keys(t, &rows, pp_top_now(t)->at_ns + (uint64_t)(t->interval * 1e9));
	}
	close_screen();
	return PP_EXIT_OK;
}
