/*
 * overhead.c - what counters and histograms cost: the same operations through two builds of the client library, one without them.
 *
 * Both libraries are loaded into this process and attached to the same store, so both read and write the same memory, and they take turns
 * each millisecond (A B, B A, ...): what the machine does meanwhile hits both. A turn's time is the thread's own processor time. A turn's operations are drawn from a list that neither
 * of them has just used. Between turns of puts everything is made durable, so that no turn meets a full log ring. The figure is the median
 * of the ratios of neighbouring turns; the quartiles say how far they scatter.
 */
#include "client/ppdb.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUE 100
#define DRAWS (1u << 20)
#define PAIRS_MAX 100000

static unsigned pairs_max = PAIRS_MAX;

struct lib {
	const char *path;
	ppdb *db;
	ppdb_view *view;
	__typeof__(ppdb_attach) *attach;
	__typeof__(ppdb_errdetail) *errdetail;
	__typeof__(ppdb_get) *get;
	__typeof__(ppdb_put) *put;
	__typeof__(ppdb_sync) *sync;
	__typeof__(ppdb_view_begin) *view_begin;
	__typeof__(ppdb_view_refresh) *view_refresh;
	__typeof__(ppdb_view_get) *view_get;
};

struct workload {
	const char *name, *what;
	unsigned keys;                 /* 0 = all */
	unsigned turn;                 /* operations */
	int (*op)(struct lib *, ppdb_slice key);
	int writes;
};

static char value[VALUE];
static uint64_t total_keys = 1000000;
static uint32_t *draw;

static void need(int ok, const char *what, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "overhead: %s: %s\n", what, why);
	exit(1);
}

/* Of this thread: what others do on the processor meanwhile is not in it. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *symbol(void *so, const char *name)
{
	void *p = dlsym(so, name);

	need(p != NULL, name, "is not in the library");
	return p;
}

static void load(struct lib *l, const char *path, const char *store)
{
	ppdb_attach_opts opts = {.size = sizeof(opts), .flags = PPDB_POPULATE, .timeout_ms = 10000, .client_name = "overhead"};
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	need(so != NULL, path, so ? "" : dlerror());
	l->path = path;
	l->attach = symbol(so, "ppdb_attach");
	l->errdetail = symbol(so, "ppdb_errdetail");
	l->get = symbol(so, "ppdb_get");
	l->put = symbol(so, "ppdb_put");
	l->sync = symbol(so, "ppdb_sync");
	l->view_begin = symbol(so, "ppdb_view_begin");
	l->view_refresh = symbol(so, "ppdb_view_refresh");
	l->view_get = symbol(so, "ppdb_view_get");
	need(!l->attach(store, &opts, &l->db), "attach", l->errdetail());
	need(!l->view_begin(l->db, PPDB_VIEW_LATEST, &l->view), "view", l->errdetail());
}

/* ---- operations ---- */

static int get_in_place(struct lib *l, ppdb_slice key)
{
	ppdb_item item;
	int rc = l->view_get(l->view, 0, key, &item);

	return rc ? rc : ((const char *)item.value.data)[0] != 'v';
}

static int get_copy(struct lib *l, ppdb_slice key)
{
	char back[VALUE];
	size_t size;

	return l->get(l->db, 0, key, back, sizeof(back), &size);
}

static int put_visible(struct lib *l, ppdb_slice key)
{
	static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

	return l->put(l->db, 0, key, (ppdb_slice){value, VALUE}, &async, NULL);
}

static const struct workload workloads[] = {
	{"get", "in place, random of all keys", 0, 3000, get_in_place, 0},
	{"get hot", "in place, random of 1000 keys: all in the cache", 1000, 20000, get_in_place, 0},
	{"get copy", "ppdb_get, random of all keys", 0, 3000, get_copy, 0},
	{"put", "visible (PPDB_ASYNC), random of all keys", 0, 500, put_visible, 1},
	{"put hot", "visible, random of 1000 keys", 1000, 1000, put_visible, 1},
};

/* ---- measuring ---- */

static void key_of(uint64_t n, char out[17])
{
	for (int i = 15; i >= 0; i--, n /= 10)
		out[i] = (char)('0' + n % 10);
	out[16] = '\0';
}

/* Nanoseconds an operation. */
static double turn(struct lib *l, const struct workload *w, unsigned *at)
{
	uint64_t keys = w->keys ? w->keys : total_keys;
	char (*key)[17] = malloc(w->turn * sizeof(*key));
	double start, end;
	int rc = 0;

	need(key != NULL, "memory", "there is none");
	for (unsigned i = 0; i < w->turn; i++)
		key_of((uint64_t)draw[(*at)++ % DRAWS] * keys >> 32, key[i]);
	need(!l->view_refresh(l->view), "refresh", l->errdetail());
	start = now();
	for (unsigned i = 0; i < w->turn; i++)
		rc |= w->op(l, (ppdb_slice){key[i], 16});
	end = now();
	need(!rc, w->name, l->errdetail());
	if (w->writes)
		need(!l->sync(l->db, -1), "sync", l->errdetail());
	free(key);
	return (end - start) * 1e9 / w->turn;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(double *v, unsigned n, double q)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(unsigned)(q * (n - 1) + 0.5)];
}

static double measure(struct lib lib[2], const struct workload *w, double seconds)
{
	static double ratio[PAIRS_MAX], with[PAIRS_MAX], without[PAIRS_MAX];
	double end = now() + seconds;
	unsigned n = 0, at = 0;

	for (int warm = 0; warm < 6; warm++)
		turn(&lib[warm & 1], w, &at);
	while (now() < end && n < pairs_max) {
		unsigned first = n & 1;
		double ns[2];

		ns[first] = turn(&lib[first], w, &at);
		ns[!first] = turn(&lib[!first], w, &at);
		with[n] = ns[0];
		without[n] = ns[1];
		ratio[n++] = ns[0] / ns[1];
	}
	printf("%-10s %9.1f ns %9.1f ns %+8.2f %%  [%+.2f .. %+.2f]  %u pairs  %s\n", w->name, quantile(without, n, 0.5), quantile(with, n, 0.5),
		100 * (quantile(ratio, n, 0.5) - 1), 100 * (quantile(ratio, n, 0.25) - 1), 100 * (quantile(ratio, n, 0.75) - 1), n, w->what);
	fflush(stdout);
	return quantile(ratio, n, 0.5);
}

static void fill(struct lib *l)
{
	char key[17];

	for (uint64_t i = 0; i < total_keys; i++) {
		key_of(i * 7919 % total_keys, key);
		need(!put_visible(l, (ppdb_slice){key, 16}), "fill", l->errdetail());
	}
	need(!l->sync(l->db, -1), "sync", l->errdetail());
}

int main(int argc, char **argv)
{
	struct lib lib[2];
	double seconds = argc > 4 ? atof(argv[4]) : 10;
	uint64_t x = 88172645463325252ull;

	if (argc < 4) {
		fprintf(stderr, "usage: overhead STORE LIBRARY LIBRARY-WITHOUT-COUNTERS [SECONDS [KEYS [WORKLOAD]]]\n");
		return 2;
	}
	if (argc > 5)
		total_keys = strtoull(argv[5], NULL, 10);
	draw = malloc(DRAWS * sizeof(*draw));
	need(draw != NULL && total_keys >= 1000, "memory", "there is none, or fewer than 1000 keys");
	for (unsigned i = 0; i < DRAWS; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		draw[i] = (uint32_t)(x >> 32);
	}
	memset(value, 'v', VALUE);
	load(&lib[0], argv[2], argv[1]);
	load(&lib[1], argv[3], argv[1]);
	fill(&lib[0]);
	printf("%-10s %12s %12s %10s  [quartiles]\n", "", "without", "with", "cost");
	for (unsigned i = 0; i < sizeof(workloads) / sizeof(*workloads); i++)
		if (argc < 7 || !strcmp(argv[6], workloads[i].name))
			measure(lib, &workloads[i], seconds);
	return 0;
}
