/*
 * demo_reader.c - a reader of the demo: compares values with the input file where they lie in shared memory, until SIGTERM.
 *
 * usage: demo_reader STORE INPUT SEED      (INPUT: the load format, sorted by key, keys without escapes)
 * Gets random keys and walks short ranges through one LATEST view; no value is ever copied. A key that is not there yet is a miss.
 * Every hit must be exactly what the input says, every range must be in order. Prints one line of key=value figures.
 * Exit 0: nothing was wrong. Only the public library is used; when it is killed nothing has to be repaired by anybody.
 */
#include <ppdb.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUND 256         /* reads between two refreshes of the view */
#define RANGE 100
#define BUCKETS 4096      /* of 16 ns */

struct line {
	const char *key, *value;
	size_t key_size, value_size;
};

static struct line *lines;
static size_t count;
static uint64_t hits, misses, wrong, ranges, entries, errors;
static uint32_t latency[BUCKETS];
static volatile sig_atomic_t stopped;

static void on_term(int sig)
{
	(void)sig;
	stopped = 1;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "demo_reader: %s: %s\n", what, why);
	exit(2);
}

static void read_input(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const char *at, *end;
	size_t cap = 0;

	if (fd < 0 || fstat(fd, &st))
		die(path, "cannot be opened");
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		die(path, "cannot be mapped");
	for (end = at + st.st_size; at < end;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *tab = memchr(at, '\t', (size_t)(end - at));

		if (!newline || !tab || tab > newline)
			die(path, "is not in the load format");
		if (count == cap)
			lines = realloc(lines, (cap = cap ? 2 * cap : 65536) * sizeof(*lines));
		if (!lines)
			die(path, "not enough memory");
		lines[count++] = (struct line){at, tab + 1, (size_t)(tab - at), (size_t)(newline - tab - 1)};
		at = newline + 1;
	}
	if (!count)
		die(path, "is empty");
}

/* The input's text against the bytes in shared memory; the input has only the escapes \t \n \\. */
static bool same_value(const struct line *l, ppdb_slice value)
{
	const char *bytes = value.data;
	size_t n = 0;

	for (size_t i = 0; i < l->value_size; i++, n++) {
		char c = l->value[i];

		if (c == '\\' && ++i < l->value_size)
			c = l->value[i] == 't' ? '\t' : l->value[i] == 'n' ? '\n' : l->value[i];
		if (n >= value.size || bytes[n] != c)
			return false;
	}
	return n == value.size;
}

static int compare(const struct line *l, ppdb_slice key)
{
	size_t n = l->key_size < key.size ? l->key_size : key.size;
	int c = memcmp(l->key, key.data, n);

	return c ? c : (l->key_size > key.size) - (l->key_size < key.size);
}

static const struct line *find(ppdb_slice key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = compare(&lines[middle], key);

		if (!c)
			return &lines[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void complain(const char *what, const struct line *l)
{
	wrong++;
	fprintf(stderr, "demo_reader: WRONG: %s at key %.*s\n", what, l ? (int)l->key_size : 1, l ? l->key : "?");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int get_one(ppdb_view *view, const struct line *l)
{
	ppdb_slice key = {l->key, l->key_size};
	ppdb_item item;
	uint64_t began = now_ns(), bucket;
	int rc = ppdb_view_get(view, PPDB_TABLE_DEFAULT, key, &item);

	bucket = (now_ns() - began) / 16;
	latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	if (rc == PPDB_NOTFOUND) {
		misses++;
		return 0;
	}
	if (rc)
		return rc;
	hits++;
	if (!same_value(l, item.value) && !ppdb_view_check(view))
		complain("another value", l);
	return 0;
}

/* Whatever is there from a random key on: in order, known, and with the right value. */
static int walk(ppdb_view *view, const struct line *from)
{
	ppdb_slice key = {from->key, from->key_size};
	const struct line *last = NULL, *l;
	ppdb_iter *iter;
	ppdb_item item;
	int rc = ppdb_iter_open(view, PPDB_TABLE_DEFAULT, NULL, &iter);

	if (rc)
		return rc;
	rc = ppdb_iter_seek(iter, key, &item);
	for (int i = 0; i < RANGE && !rc; i++) {
		l = find(item.key);
		entries++;
		if (!l)
			complain("a key that nobody wrote", last);
		else if (l < from || (last && l <= last))
			complain("a range out of order", l);
		else if (!same_value(l, item.value))
			complain("another value in a range", l);
		last = l ? l : last;
		rc = ppdb_iter_next(iter, &item);
	}
	ppdb_iter_close(iter);
	ranges++;
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static unsigned percentile(double fraction)
{
	uint64_t total = 0, sum = 0;
	unsigned i;

	for (i = 0; i < BUCKETS; i++)
		total += latency[i];
	for (i = 0; i < BUCKETS && sum < (uint64_t)((double)total * fraction); i++)
		sum += latency[i];
	return i * 16;
}

static void read_until_stopped(ppdb *db, uint64_t seed)
{
	ppdb_view *view;
	int rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &view);

	if (rc)
		die("view", ppdb_strerror(rc));
	while (!stopped) {
		for (int i = 0; i < ROUND && !rc; i++)
			rc = get_one(view, &lines[next_random(&seed) % count]);
		if (!rc)
			rc = walk(view, &lines[next_random(&seed) % count]);
		if (rc) {
			errors++;
			fprintf(stderr, "demo_reader: %s: %s\n", ppdb_errname(rc), ppdb_errdetail());
			usleep(10000);
		}
		rc = ppdb_view_refresh(view);
	}
	ppdb_view_end(view);
}

int main(int argc, char **argv)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY, .timeout_ms = 5000, .client_name = "demo reader"};
	struct sigaction act = {.sa_handler = on_term};
	uint64_t began;
	ppdb *db;
	int rc;

	if (argc != 4)
		die("usage", "demo_reader STORE INPUT SEED");
	sigaction(SIGTERM, &act, NULL);
	read_input(argv[2]);
	rc = ppdb_attach(argv[1], &o, &db);
	if (rc)
		die(argv[1], *ppdb_errdetail() ? ppdb_errdetail() : ppdb_strerror(rc));
	began = now_ns();
	read_until_stopped(db, strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15u + 1);
	printf("hits=%llu misses=%llu ranges=%llu entries=%llu wrong=%llu errors=%llu p50_ns=%u p99_ns=%u ms=%llu\n",
		(unsigned long long)hits, (unsigned long long)misses, (unsigned long long)ranges, (unsigned long long)entries,
		(unsigned long long)wrong, (unsigned long long)errors, percentile(0.5), percentile(0.99),
		(unsigned long long)((now_ns() - began) / 1000000));
	ppdb_detach(db);
	return wrong ? 1 : 0;
}
