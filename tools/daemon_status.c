/*
 * daemon_status.c - the answer to STATUS: one JSON object about the daemon, its store and its clients.
 *
 * Numbers are read without stopping anybody, each by itself: statistics, not a cut.
 */
#include "tools/daemon.h"

#include <stdarg.h>

struct out {
	char *text;
	size_t at, cap;
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->text + o->at, o->cap - o->at, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->at += (size_t)n < o->cap - o->at ? (size_t)n : o->cap - o->at - 1;
}

static void put_string(struct out *o, const char *name, const char *value)
{
	put(o, "\"%s\":\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			put(o, "\\%c", *value);
		else if ((unsigned char)*value < 0x20)
			put(o, "\\u%04x", (unsigned char)*value);
		else
			put(o, "%c", *value);
	}
	put(o, "\"");
}

static void put_number(struct out *o, const char *name, uint64_t value)
{
	put(o, "\"%s\":%llu", name, (unsigned long long)value);
}

static const char *state_of(struct pp_daemon *d, struct pp_region *r)
{
	if (!r)
		return "starting";
	if (pp_load_acq(&d->work.stop))
		return "stopping";
	return pp_load_acq(&d->work.log_error) ? "readonly" : "running";
}

static uint64_t slots_used(struct pp_region *r)
{
	uint64_t high = pp_load_acq(&r->globals->slots_high), n = 0;

	for (uint64_t i = 0; i < high && i < r->fixed.slots; i++)
		n += pp_slot_state(pp_load_rlx(&r->slots[i].owner)) != PP_SLOT_FREE; /* stat */
	return n;
}

static void put_store(struct out *o, struct pp_daemon *d, struct pp_region *r)
{
	static const char *const strategies[] = { "single", "range", "hash" }, *const kinds[] = { "4k", "thp", "hugetlb" };
	struct pp_header *h = r->header;
	struct pp_engine *e = r->engine;
	uint32_t error = pp_load_acq(&d->work.log_error);

	put_number(o, "incarnation", pp_load_acq(&h->incarnation));
	put(o, ",\"warm\":%s,", d->warm ? "true" : "false");
	put_number(o, "memory_bytes", r->fixed.memory_max);
	put(o, ",");
	put_number(o, "committed_bytes", r->segments_at + pp_load_acq(&r->globals->committed_segments) * PP_SEGMENT_BYTES -
		   pp_load_rlx(&r->globals->holes) * PP_PAGE_BYTES); /* stat */
	put(o, ",");
	put_string(o, "pages", r->fixed.page_kind < 3 ? kinds[r->fixed.page_kind] : "?");
	put(o, ",");
	put_number(o, "shards", r->fixed.shards);
	put(o, ",");
	put_string(o, "strategy", r->fixed.strategy < 3 ? strategies[r->fixed.strategy] : "?");
	put(o, ",");
	put_string(o, "sync", r->fixed.sync_mode ? "mutex" : "lockfree");
	put(o, ",");
	put_number(o, "nodes", r->fixed.nodes);
	put(o, ",");
	put_number(o, "slots", r->fixed.slots);
	put(o, ",");
	put_number(o, "slots_used", slots_used(r));
	put(o, ",");
	put_number(o, "ring_entries", r->fixed.ring_entries);
	put(o, ",");
	put_string(o, "wal_backend", e->wal_backend);
	put(o, ",");
	put_number(o, "open_epoch", pp_load_acq(&r->globals->open_epoch));
	put(o, ",");
	put_number(o, "settled_epoch", pp_load_acq(&r->globals->settled_epoch));
	put(o, ",");
	put_number(o, "durable_epoch", pp_load_acq(&r->globals->durable_epoch));
	put(o, ",");
	put_string(o, "log_error", error ? pp_error_name(-(int)error) : "");
}

/* As many as fit; the count before them is of all. */
static void put_clients(struct out *o, struct pp_daemon *d, struct pp_region *r)
{
	bool first = true;

	put(o, "\"clients\":%u,\"client_list\":[", d->watches);
	for (uint32_t i = 0; i < r->fixed.procs && o->at + 512 < o->cap; i++) {
		struct pp_watch *w = &d->watch[i];

		if (!w->used)
			continue;
		put(o, "%s{", first ? "" : ",");
		first = false;
		put_number(o, "proc", i);
		put(o, ",");
		put_number(o, "pid", (uint64_t)w->pid);
		put(o, ",");
		put_number(o, "uid", w->uid);
		put(o, ",\"readonly\":%s,", w->readonly ? "true" : "false");
		put_string(o, "name", r->procs[i].name);
		put(o, "}");
	}
	put(o, "]");
}

size_t pp_status_write(struct pp_daemon *d, char *text, size_t cap)
{
	struct pp_region *r = pp_daemon_region(d);
	struct out o = { text, 0, cap };

	if (!d->watch)
		r = NULL;
	put(&o, "{");
	put_string(&o, "name", d->set.name);
	put(&o, ",");
	put_number(&o, "pid", (uint64_t)getpid());
	put(&o, ",");
	put_string(&o, "state", state_of(d, r));
	put(&o, ",");
	put_string(&o, "data_dir", d->set.data_dir);
	put(&o, ",");
	put_string(&o, "arena", d->set.arena);
	put(&o, ",");
	put_string(&o, "socket", d->set.socket);
	put(&o, ",");
	put_string(&o, "log", d->set.log);
	put(&o, ",");
	put_number(&o, "uptime_ms", (pp_now_ns() - d->started_ns) / PP_NS_PER_MS);
	put(&o, ",");
	if (r) {
		put_store(&o, d, r);
		put(&o, ",");
		put_clients(&o, d, r);
	} else {
		pthread_mutex_lock(&d->work.text_lock);
		put_string(&o, "progress", d->work.progress);
		pthread_mutex_unlock(&d->work.text_lock);
		put(&o, ",\"incarnation\":0,\"clients\":0");
	}
	put(&o, "}");
	return o.at;
}
