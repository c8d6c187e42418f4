/*
 * top.c - `ppdb top` from outside: through a pseudo-terminal that understands what a VT52 did, by its keys and its rows; as text for scripts; with a
 * daemon that is stopped, dead or another one; and the terminal is given back on every way out.
 */
#include "client/ppdb.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

TestSuite(top, .fini = test_stores_end, .timeout = 300);

#define ROWS_MAX 60
#define COLS_MAX 200
#define PATIENCE_MS 30000

static struct test_store s;
static char out[1 << 17];

/* ---- a terminal ---- */

static struct {
	int master, slave;
	pid_t pid;
	unsigned rows, cols, y, x;
	char cell[ROWS_MAX][COLS_MAX + 1];
	unsigned escape;               /* characters of a sequence that are still to come, and which */
	char kind;
	char written[1 << 16];         /* all that was written, of a short life */
	size_t bytes;
	struct termios modes;
} tty;

static void erase_from(unsigned y, unsigned x, bool all)
{
	memset(tty.cell[y] + x, ' ', COLS_MAX - x);
	for (unsigned i = y + 1; all && i < ROWS_MAX; i++)
		memset(tty.cell[i], ' ', COLS_MAX);
}

static void sequence(char c)
{
	if (tty.escape == 2) {
		tty.y = (unsigned char)c >= ' ' && (unsigned char)c - ' ' < ROWS_MAX ? (unsigned char)c - ' ' : 0;
		tty.escape = 1;
		tty.kind = 'y';
		return;
	}
	tty.escape = 0;
	if (tty.kind == 'y') {
		tty.x = (unsigned char)c >= ' ' && (unsigned char)c - ' ' < COLS_MAX ? (unsigned char)c - ' ' : 0;
		return;
	}
	switch (c) {
	case 'Y': tty.escape = 2; break;
	case 'A': tty.y -= tty.y > 0; break;
	case 'B': tty.y += tty.y < ROWS_MAX - 1; break;
	case 'C': tty.x += tty.x < COLS_MAX - 1; break;
	case 'D': tty.x -= tty.x > 0; break;
	case 'H': tty.y = tty.x = 0; break;
	case 'I': tty.y -= tty.y > 0; break;
	case 'J': erase_from(tty.y, tty.x, true); break;
	case 'K': erase_from(tty.y, tty.x, false); break;
	default: break;
	}
}

static void type(char c)
{
	if (tty.escape) {
		sequence(c);
	} else if (c == '\033') {
		tty.escape = 1;
		tty.kind = 0;
	} else if (c == '\n') {
		tty.y += tty.y < ROWS_MAX - 1;
	} else if (c == '\r') {
		tty.x = 0;
	} else if (c == '\b') {
		tty.x -= tty.x > 0;
	} else if (c == '\t') {
		tty.x = (tty.x / 8 + 1) * 8 < COLS_MAX ? (tty.x / 8 + 1) * 8 : COLS_MAX - 1;
	} else if (c >= ' ') {
		tty.cell[tty.y][tty.x] = c;
		tty.x += tty.x < COLS_MAX - 1;
	}
}

static void resize(unsigned rows, unsigned cols)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

	tty.rows = rows;
	tty.cols = cols;
	test_require(!ioctl(tty.master, TIOCSWINSZ, &size), "TIOCSWINSZ: %s", strerror(errno));
}

struct start {
	char *argv[24];
	const char *term;
};

static void child(void *arg)
{
	struct start *start = arg;

	setenv("TERM", start->term, 1);
	unsetenv("LINES");
	unsetenv("COLUMNS");
	close(tty.master);
	test_require(!login_tty(tty.slave), "login_tty: %s", strerror(errno));
	execv(start->argv[0], start->argv);
	_exit(127);
}

static void open_top(const char *term, const char *words)
{
	static char program[512], copy[512];
	struct start start = {.term = term};
	char *save = NULL;
	int n = 0;

	memset(&tty, 0, sizeof(tty));
	for (unsigned i = 0; i < ROWS_MAX; i++)
		memset(tty.cell[i], ' ', COLS_MAX);
	test_require(!openpty(&tty.master, &tty.slave, NULL, NULL, NULL), "openpty: %s", strerror(errno));
	resize(40, 140);
	tcgetattr(tty.slave, &tty.modes);
	snprintf(program, sizeof(program), "%s/ppdb", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	snprintf(copy, sizeof(copy), "%s", words);
	start.argv[n++] = program;
	start.argv[n++] = "-n";
	start.argv[n++] = s.socket;
	start.argv[n++] = "top";
	for (char *w = strtok_r(copy, " ", &save); w && n < 23; w = strtok_r(NULL, " ", &save))
		start.argv[n++] = w;
	tty.pid = test_spawn(child, &start);
}

/* Reads what has been written, for up to `ms`. */
static void look(int ms)
{
	struct pollfd p = {.fd = tty.master, .events = POLLIN};
	char buffer[4096];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0 || (n = read(tty.master, buffer, sizeof(buffer))) <= 0)
		return;
	for (ssize_t i = 0; i < n; i++) {
		type(buffer[i]);
		if (tty.bytes < sizeof(tty.written))
			tty.written[tty.bytes++] = buffer[i];
	}
}

static bool shows(const char *text)
{
	for (unsigned i = 0; i < ROWS_MAX; i++) {
		tty.cell[i][COLS_MAX] = '\0';
		if (strstr(tty.cell[i], text))
			return true;
	}
	return false;
}

static bool wrote(const char *text)
{
	return memmem(tty.written, tty.bytes, text, strlen(text)) != NULL;
}

static void print_screen(void)
{
	for (unsigned i = 0; i < tty.rows; i++)
		dprintf(2, "|%.*s|\n", (int)tty.cols, tty.cell[i]);
}

/* Waits until the screen shows the text, or does so no longer. */
static void expect(bool there, const char *text)
{
	uint64_t end = test_now_ns() + PATIENCE_MS * UINT64_C(1000000);

	while (shows(text) != there && test_now_ns() < end)
		look(50);
	if (shows(text) != there)
		print_screen();
	test_require(shows(text) == there, "the screen %s '%s'", there ? "does not show" : "goes on showing", text);
}

static void press(const char *keys)
{
	test_require(write(tty.master, keys, strlen(keys)) == (ssize_t)strlen(keys), "write: %s", strerror(errno));
}

/* Waits for its end; what waitpid says. */
static int close_top(void)
{
	int status = -1;

	for (unsigned i = 0; i < 600 && (status = test_collect(tty.pid, false)) == -1; i++)
		look(50);
	test_require(status != -1, "ppdb top does not end");
	look(0);
	return status;
}

static void restored(const char *how)
{
	struct termios now;

	tcgetattr(tty.slave, &now);
	test_require(now.c_lflag == tty.modes.c_lflag && now.c_iflag == tty.modes.c_iflag && now.c_oflag == tty.modes.c_oflag,
		"after %s the terminal's modes are not what they were", how);
	close(tty.master);
	close(tty.slave);
}

/* ---- a client that works ---- */

static void work(void *arg)
{
	_Atomic int *done = arg;
	ppdb_attach_opts o = {.size = sizeof(o), .client_name = "busy one", .timeout_ms = 10000};
	ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	char value[16];
	ppdb *db;

	test_ok(ppdb_attach(s.socket, &o, &db));
	for (unsigned i = 0; !*done; i++) {
		char key[16];
		int rc;

		snprintf(key, sizeof(key), "k%u", i % 100);
		rc = ppdb_put(db, 0, (ppdb_slice){key, strlen(key)}, PPDB_S("v"), &async, NULL);
		test_require(rc == 0 || rc == PPDB_OVERLOAD || rc == PPDB_DAEMON_GONE, "put gave %s", test_name_of(rc));
		(void)ppdb_get(db, 0, PPDB_S("k1"), value, sizeof(value), NULL);
		if (i % 16 == 0)
			test_sleep_ms(1);
	}
	test_ok(ppdb_detach(db));
}

static pid_t busy(_Atomic int **done)
{
	*done = test_shared(sizeof(**done));
	return test_spawn(work, (void *)(uintptr_t)*done);
}

/* ---- tests ---- */

Test(top, shows_rows_and_obeys_keys)
{
	_Atomic int *done;
	pid_t client;
	int status;

	test_begin(200);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	client = busy(&done);
	open_top("vt52", "--interval 0.2");
	expect(true, "busy one");
	expect(true, "OPERATION");
	expect(true, "OPS/Sv");
	expect(false, "SHARD ");
	press(">");
	expect(true, "READS/Sv");
	press("r");
	expect(true, "READS/S^");
	press("M");
	expect(true, "PINS^");
	press("v");
	expect(true, "SHARD ");
	press("v");
	expect(false, "SHARD ");
	press("?");
	expect(true, "sort clients by");
	press("x");
	expect(true, "OPERATION");
	press("p");
	expect(true, "PAUSED");
	press("p");
	expect(false, "PAUSED");
	memset(tty.cell, ' ', sizeof(tty.cell));
	resize(9, 60);
	expect(true, "ppdb top");
	for (unsigned i = 9; i < ROWS_MAX; i++)
		test_require(strspn(tty.cell[i], " ") == COLS_MAX, "row %u of 9 is written to: %s", i, tty.cell[i]);
	press("q");
	status = close_top();
	test_require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %#x", (unsigned)status);
	restored("q");
	*done = 1;
	test_join(client);
	test_store_stop(&s);
}

Test(top, says_what_became_of_the_daemon_and_finds_the_next_one)
{
	char words[200], title[64];
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	open_top("vt52", "--interval 0.2");
	expect(true, "running");
	kill(s.daemon, SIGSTOP);
	expect(true, "The daemon is stopped");
	kill(s.daemon, SIGCONT);
	expect(false, "The daemon is stopped");
	test_store_kill(&s);
	expect(true, "The daemon is dead");
	test_require(test_store_try(&s) == 0, "no restart");
	expect(false, "The daemon is dead");
	test_store_cold(&s); /* another arena */
	snprintf(title, sizeof(title), "daemon %d running", (int)s.daemon);
	expect(true, title);
	db = test_store_attach(&s, 0);
	expect(true, "1 client,");
	test_ok(ppdb_detach(db));
	test_store_kill(&s);
	expect(true, "The daemon is dead");
	press("q");
	close_top();
	restored("q");
	snprintf(words, sizeof(words), "--interval 0.2 --arena %s", s.arena); /* begins without a daemon */
	open_top("vt52", words);
	expect(true, "The daemon is dead");
	test_require(test_store_try(&s) == 0, "no restart");
	snprintf(title, sizeof(title), "daemon %d running", (int)s.daemon);
	expect(true, title);
	db = test_store_attach(&s, 0);
	expect(true, "1 client,");
	test_ok(ppdb_detach(db));
	press("q");
	close_top();
	restored("q");
	test_store_stop(&s);
}

Test(top, gives_the_terminal_back_on_every_way_out)
{
	static const int signals[] = {0, SIGTERM, SIGHUP, SIGINT, SIGSEGV};

	test_begin(200);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		char name[40];
		int status;

		snprintf(name, sizeof(name), "signal %d", signals[i]);
		open_top("xterm", "--interval 0.2");
		while (!wrote("OPERATION"))
			look(50);
		if (signals[i] == SIGINT)
			press("\003");
		else if (signals[i])
			kill(tty.pid, signals[i]);
		else
			press("q");
		status = close_top();
		for (unsigned k = 0; k < 20 && !wrote("\033[?1049l"); k++)
			look(50);
		test_require(wrote("\033[?1049l"), "after %s the screen that was there before is not back", name);
		test_require(wrote("\033[?25h"), "after %s there is no cursor", name);
		test_require(signals[i] == SIGSEGV ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV : WIFEXITED(status) && !WEXITSTATUS(status),
			"after %s it ended with %#x", name, (unsigned)status);
		restored(name);
	}
	test_store_stop(&s);
}

/* Runs a batch look until it shows the text. */
static void expect_batch(const char *words, const char *text)
{
	for (unsigned i = 0; i < 100; i++) {
		test_require(test_store_command(&s, words, out, sizeof(out)) == 0, "%s", out);
		if (strstr(out, text))
			return;
		test_sleep_ms(50);
	}
	test_require(false, "'%s' does not appear: %s", text, out);
}

Test(top, text_and_json_for_scripts)
{
	_Atomic int *done;
	pid_t client;
	char *at, words[200];

	test_begin(200);
	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 3");
	client = busy(&done);
	expect_batch("top --batch --interval 0.2 --shards", "busy one");
	test_require(strstr(out, "SHARD ") && strstr(out, "put ") && strstr(out, "3 shards by range"), "%s", out);
	for (unsigned i = 0; i < 100; i++) {
		expect_batch("top --json --interval 0.2", "\"busy one\"");
		at = strstr(strstr(out, "\"busy one\""), "\"writes_per_s\": ");
		test_require(at, "%s", out);
		if (strtod(at + 16, NULL) > 0)
			break;
	}
	test_require(strtod(at + 16, NULL) > 0, "a client that writes is shown with none: %s", out);
	test_require(strstr(out, "\"daemon\": \"running\""), "%s", out);
	kill(client, SIGSTOP);
	expect_batch("top --json --interval 0.1", "\"state\": \"STOPPED\"");
	kill(client, SIGCONT);
	kill(s.daemon, SIGSTOP); /* which takes the dead one's record back otherwise */
	test_kill(client);
	snprintf(words, sizeof(words), "top --batch --interval 0.1 --arena %s", s.arena);
	expect_batch(words, "The daemon is stopped");
	test_require(strstr(out, " DEAD"), "%s", out);
	kill(s.daemon, SIGCONT);
	test_require(test_store_command(&s, "top", out, sizeof(out)) == 0 && strstr(out, "OPERATION"), "without a terminal: %s", out);
	test_require(test_store_command(&s, "top --batch --sort nonsense", out, sizeof(out)) == 2, "%s", out);
	test_require(test_store_command(&s, "top --batch --interval 0", out, sizeof(out)) == 2, "%s", out);
	test_require(test_store_command(&s, "top --batch --interval 0.05 --count 3 --sort pid", out, sizeof(out)) == 0, "%s", out);
	at = out;
	for (unsigned i = 0; i < 3; i++, at++)
		test_require((at = strstr(at, "OPERATION")), "there are less than three looks: %s", out);
	test_require(!strstr(at, "OPERATION"), "there are more than three looks: %s", out);
	test_store_stop(&s);
}
