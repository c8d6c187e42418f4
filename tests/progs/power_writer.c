/*
 * power_writer.c - the writers of `make power`, in the guest: processes that take the steps of tests/power/steps.h and tell the host
 * each one that was acknowledged as durable.
 *
 * usage: power_writer STORE PORT SEED START0,START1,...
 * START: steps of each writer that the store holds already; each writer first looks whether it does. On PORT: "R" once all may
 * begin, "A w n" when step n of writer w and all its steps before are durable, "E text" when something went wrong.
 * Ends never: the machine is switched off.
 */
#include <ppdb.h>

#include "tests/power/steps.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 600000             /* a guest on a busy machine is slow */

static ppdb *db;
static int port;
static uint64_t seed, seen[POWER_WRITERS];
static unsigned self;
static struct power_model model;
static char value[POWER_VALUE_MAX];

/* One write a line: lines of several writers do not mix. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	if (write(port, line, (size_t)n) != n)
		perror("power_writer: port");
}

static void die(const char *what, int rc)
{
	tell("E writer %u: %s: %s: %s\n", self, what, ppdb_errname(rc), ppdb_errdetail());
	_exit(1);
}

/* The numbers at the front of a value; false if it is none. */
static bool parse(const char *text, size_t size, uint64_t number[2 + POWER_WRITERS])
{
	char head[POWER_HEAD];
	const char *at = head;

	snprintf(head, sizeof(head), "%.*s", (int)(size < sizeof(head) - 1 ? size : sizeof(head) - 1), text);
	for (unsigned i = 0; i < 2 + POWER_WRITERS; i++) {
		char *end;

		number[i] = strtoull(at, &end, 10);
		if (end == at || *end != ' ')
			return false;
		at = end + 1;
	}
	return true;
}

static uint64_t step_in_store(unsigned writer, unsigned key)
{
	uint64_t number[2 + POWER_WRITERS];
	char name[16];
	size_t size = 0;
	ppdb_slice k = {name, (size_t)power_key(name, sizeof(name), writer, key)};
	int rc = ppdb_get(db, PPDB_TABLE_DEFAULT, k, value, sizeof(value), &size);

	if (rc == PPDB_NOTFOUND)
		return 0;
	if (rc)
		die("get", rc);
	if (!parse(value, size, number) || number[0] != writer)
		die("another value than was written", PPDB_CORRUPT);
	return number[1];
}

static void begin(uint64_t start)
{
	for (uint64_t n = 1; n <= start; n++) {
		struct power_step s = power_step(seed, self, n, &model);

		power_apply(&model, &s, n);
	}
	for (unsigned key = 0; key < POWER_KEYS; key++)
		if (step_in_store(self, key) != model.step[key])
			die("the store began with other steps than it was left with", PPDB_CORRUPT);
	seen[self] = start;
}

static void take_step(uint64_t n)
{
	struct power_step s = power_step(seed, self, n, &model);
	ppdb_wopts opts = {.size = sizeof(opts), .flags = s.durable && s.how == 0 ? 0 : PPDB_ASYNC, .timeout_ms = PATIENCE_MS};
	char name[16];
	ppdb_slice key = {name, 0}, val = {value, 0};
	uint64_t other = step_in_store(s.other, s.other_key);
	ppdb_seq ticket = 0;
	int rc;

	if (other > seen[s.other])
		seen[s.other] = other;
	key.size = (size_t)power_key(name, sizeof(name), self, s.key);
	if (!s.del)
		val.size = power_value(value, seed, self, n, s.letters, seen);
	rc = s.del ? ppdb_del(db, PPDB_TABLE_DEFAULT, key, &opts, &ticket) :
		     ppdb_put(db, PPDB_TABLE_DEFAULT, key, val, &opts, &ticket);
	if (rc)
		die(s.del ? "del" : "put", rc);
	if (s.durable && s.how)
		rc = s.how == 1 ? ppdb_wait(db, ticket, PPDB_DURABLE, -1) : ppdb_sync(db, -1);
	if (rc)
		die(s.how == 1 ? "wait" : "sync", rc);
	power_apply(&model, &s, n);
	seen[self] = n;
	if (s.durable)
		tell("A %u %llu\n", self, (unsigned long long)n);
}

static void work(const char *store, uint64_t start, int ready, int go)
{
	ppdb_attach_opts o = {.size = sizeof(o), .timeout_ms = 120000, .client_name = "power writer"};
	char c = 0;
	int rc = ppdb_attach(store, &o, &db);

	if (rc)
		die("attach", rc);
	begin(start);
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		die("pipe", PPDB_OK);
	for (uint64_t n = start + 1;; n++)
		take_step(n);
}

int main(int argc, char **argv)
{
	int ready[2], go[2];
	const char *start = argc == 5 ? argv[4] : "";
	char c[POWER_WRITERS];

	if (argc != 5 || pipe(ready) || pipe(go)) {
		fprintf(stderr, "usage: power_writer STORE PORT SEED START0,START1,...\n");
		return 2;
	}
	port = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (port < 0) {
		perror(argv[2]);
		return 1;
	}
	seed = strtoull(argv[3], NULL, 10);
	for (self = 0; self < POWER_WRITERS; self++) {
		char *end;
		uint64_t steps = strtoull(start, &end, 10);

		if (!fork())
			work(argv[1], steps, ready[1], go[0]);
		start = end + (*end == ',');
	}
	close(ready[1]);
	for (unsigned i = 0; i < POWER_WRITERS; i++)
		if (read(ready[0], c, 1) != 1)
			return 1;
	tell("R\n");
	if (write(go[1], c, POWER_WRITERS) != POWER_WRITERS)
		return 1;
	while (wait(NULL) > 0)
		;
	return 1;
}
