/*
 * exporter_stores.c - which stores there are, and one scrape of them all.
 *
 * Nothing is held between two scrapes: each looks anew, so it follows every restart by itself, pins nothing, and is a client for some
 * milliseconds. What is remembered is where the memory of a store lies, to find it when its daemon is dead.
 */
#include "tools/exporter.h"
#include "tools/paths.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 2000                 /* a daemon that is stopped does not answer; one on a busy machine is slow */

static struct pp_exporter_store *find(struct pp_exporter *x, const char *name)
{
	for (unsigned i = 0; i < x->count; i++)
		if (!strcmp(x->store[i].name, name))
			return &x->store[i];
	return NULL;
}

static void add(struct pp_exporter *x, const char *name, bool asked_for)
{
	struct pp_exporter_store *s;

	if (find(x, name) || x->count == PP_EXPORTER_STORES)
		return;
	s = &x->store[x->count++];
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->asked_for = asked_for;
}

int pp_exporter_choose(struct pp_exporter *x, const char *names)
{
	memset(x, 0, sizeof(*x));
	x->all = !names[0];
	while (*names) {
		size_t n = strcspn(names, ",");
		char name[108];

		if (n >= sizeof(name))
			return pp_detail(-EINVAL, "a name or path in --name is longer than 107 bytes");
		snprintf(name, sizeof(name), "%.*s", (int)n, names);
		if (!strchr(name, '/') && !pp_paths_name_ok(name))
			return pp_detail(-EINVAL, "'%s' is no name for a store: 1 to 63 letters, digits, '.', '_', '-', or the path of a socket", name);
		if (x->count == PP_EXPORTER_STORES)
			return pp_detail(-E2BIG, "more than %d stores", PP_EXPORTER_STORES);
		add(x, name, true);
		names += n + (names[n] == ',');
	}
	return 0;
}

/* Names in the directory that holds `path`, which end with `suffix`; with `inside`: only those that hold such a file. */
static void add_names(struct pp_exporter *x, const char *path, const char *suffix, const char *inside)
{
	char dir[PATH_MAX], probe[PATH_MAX + 300];
	size_t tail = strlen(suffix);
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n <= tail || strcmp(e->d_name + n - tail, suffix))
			continue;
		e->d_name[n - tail] = '\0';
		snprintf(probe, sizeof(probe), "%s/%s/%s", dir, e->d_name, inside ? inside : "");
		if (pp_paths_name_ok(e->d_name) && (!inside || !access(probe, F_OK)))
			add(x, e->d_name, false);
	}
	if (d)
		closedir(d);
}

/* A store has a data directory in the usual place, or one elsewhere and memory or a socket in the usual place. */
static void look_up(struct pp_exporter *x)
{
	struct pp_paths p;

	if (pp_paths_fill("x", &p))
		return;
	add_names(x, p.data, "", "STORE");
	add_names(x, p.arena, ".arena", NULL);
	add_names(x, p.socket, ".sock", NULL);
}

/* False: only the file of a socket is left of it. */
static bool look_at(struct pp_exporter_store *s, struct pp_metrics_store *m, int *rc)
{
	struct pp_look look;
	struct pp_paths p;
	char probe[PATH_MAX + 8] = "";
	bool there;

	pp_look_open(&look, s->name, s->arena[0] ? s->arena : NULL, ANSWER_MS, "ppdb-exporter");
	if (look.answered)
		memcpy(s->arena, look.arena, sizeof(s->arena));
	if (!pp_paths_fill(s->name, &p))
		snprintf(probe, sizeof(probe), "%s/STORE", p.data);
	there = s->asked_for || look.answered || look.region || !access(probe, F_OK);
	*rc = there ? pp_metrics_collect(m, &look, s->name) : 0;
	pp_look_close(&look);
	return there;
}

static int print(enum pp_metrics_format format, const struct pp_metrics_store *m, unsigned count, char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);

	if (!out)
		return -ENOMEM;
	pp_metrics_print(out, format, m, count);
	return fclose(out) ? -ENOMEM : 0;
}

int pp_exporter_scrape(struct pp_exporter *x, enum pp_metrics_format format, char **text, size_t *size)
{
	struct pp_metrics_store *m;
	unsigned n = 0;
	int rc = 0;

	if (x->all)
		look_up(x);
	m = calloc(x->count + 1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	for (unsigned i = 0; i < x->count && !rc;) {
		if (look_at(&x->store[i], &m[n], &rc)) {
			n += !rc;
			i++;
		} else {
			x->store[i] = x->store[--x->count];
		}
	}
	if (!rc)
		rc = print(format, m, n, text, size);
	for (unsigned i = 0; i < n; i++)
		pp_metrics_free(&m[i]);
	free(m);
	return rc;
}
