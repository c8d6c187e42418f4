/*
 * feed.c - the change feed: follows the log (engine/follow.h) with files that ppdbd hands out, sleeps on a bell.
 *
 * What counts comes from the arena: durable_record and wal_generation say how far the log is durable; the changes themselves come from the
 * log's files, for the present as for the past, so there is no seam between the two. A restart changes nothing for the position: the
 * log goes on in another generation (warm and cold), and what was handed out is durable, so it is never cut off.
 *
 * A bookmark is a key in a table of its own (engine/bookmark.h); acknowledging is a durable write.
 *
 * Dies inside: a bell that hangs up; a bookmark that stands where it was.
 */
#include "client/bell.h"
#include "engine/bookmark.h"
#include "engine/follow.h"

#include <poll.h>

struct ppdb_feed {
	ppdb *db;
	struct pp_bell *bell;
	struct pp_follow *follow;
	uint32_t flags;
	ppdb_table table;
	char *bookmark;                /* NULL: none */
	uint8_t *prefix;
	size_t prefix_size;
};

/* ---- what the log reader needs */

static int await_reply(int sock, struct pp_reply *r, int *fds)
{
	uint64_t limit = pp_deadline_ns(PP_ANSWER_NS), now;
	size_t bytes = 0;
	int rc;

	while ((rc = pp_proto_recv(sock, r, sizeof(*r), &bytes, fds)) == -EAGAIN) {
		struct pollfd p = {.fd = sock, .events = POLLIN};

		now = pp_now_ns();
		if (now >= limit)
			return pp_detail(PPDB_DAEMON_GONE, "ppdbd accepts connections but does not answer (is it stopped?)");
		poll(&p, 1, (int)((limit - now) / PP_NS_PER_MS) + 1);
	}
	if (rc == -ECONNRESET)
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd closed the connection");
	if (!rc)
		rc = pp_reply_check(r, bytes, PP_MSG_SEGMENT);
	if (!rc && r->status)
		rc = pp_detail(r->status, "%s", r->sentence);
	return rc;
}

static int open_segment(void *ctx, uint64_t number, enum pp_follow_which which, uint64_t *found, int *fd)
{
	struct ppdb_feed *f = ctx;
	int fds[PP_PROTO_FDS] = {-1, -1}, rc, sock = pp_link_connect(f->db->name);
	struct pp_request request;
	struct pp_reply reply;

	if (sock < 0)
		return sock;
	pp_request_init(&request, PP_MSG_SEGMENT);
	request.arg[0] = number;
	request.arg[1] = which;
	rc = pp_proto_send(sock, &request, sizeof(request), NULL, 0, NULL, 0);
	rc = rc ? pp_detail(PPDB_DAEMON_GONE, "ppdbd closed the connection") : await_reply(sock, &reply, fds);
	close(sock);
	if (!rc && fds[0] < 0)
		rc = pp_detail(-EBADMSG, "ppdbd's answer came without the log segment");
	if (!rc) {
		*found = reply.arg[0];
		*fd = fds[0];
		fds[0] = -1;
	}
	pp_proto_close_fds(fds, 0);
	return rc;
}

/* The record first, the generation after it (engine/follow.c). */
static void limit(void *ctx, struct pp_follow_limit *out)
{
	struct ppdb_feed *f = ctx;
	const struct pp_region *region = &pp_bell_session(f->bell)->map->region;
	struct pp_globals *g = region->globals;
	uint64_t version;

	do {
		version = pp_load_acq(&g->durable_record_version);
		out->unit = pp_load_acq(&g->durable_record[version & 1].unit);
		out->epoch = pp_load_acq(&g->durable_record[version & 1].epoch);
	} while (pp_load_acq(&g->durable_record_version) != version);
	out->generation = pp_load_acq(&((struct pp_engine *)region->engine)->wal_generation);
}

static bool wanted(void *ctx, uint32_t table, const void *key, uint32_t size)
{
	struct ppdb_feed *f = ctx;

	if (table >= PP_TABLE_HIDDEN || (f->flags & PPDB_FEED_TABLE && table != f->table))
		return false;
	return size >= f->prefix_size && (!f->prefix_size || !memcmp(key, f->prefix, f->prefix_size));
}

/* ---- bookmarks */

static int named(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	return n >= 1 && n <= PP_BOOKMARK_NAME_MAX ? 0 : pp_detail(-EINVAL, "a bookmark's name has 1 to %d bytes", PP_BOOKMARK_NAME_MAX);
}

/* Durable. `at` NULL: removes it. */
static int write_bookmark(ppdb *db, const char *name, const struct pp_bookmark *at)
{
	struct pp_write w = {
		.key = {.table = PP_TABLE_BOOKMARKS, .size = (uint32_t)strlen(name), .data = name},
		.value = at,
		.size = at ? sizeof(*at) : 0,
		.flags = at ? 0 : PP_W_DELETE,
	};
	struct pp_session *s;
	int rc = pp_session_enter(db, &s);

	if (!rc && db->readonly)
		rc = pp_detail(PPDB_READONLY, "a bookmark needs a handle that may write");
	if (!rc)
		rc = pp_write(&s->t, &w);
	if (rc)
		return rc;
	pp_session_note(&s->written, w.tag);
	return pp_wait_ticket(db, s, w.tag, UINT64_MAX);
}

PPDB_API int ppdb_feed_forget(ppdb *db, const char *bookmark)
{
	int rc = named(bookmark);

	return rc ? rc : write_bookmark(db, bookmark, NULL);
}

PPDB_API int ppdb_feed_ack(ppdb_feed *f)
{
	struct pp_bookmark at;
	int rc = f ? pp_bell_forked(f->bell) : pp_detail(-EINVAL, "ppdb_feed_ack: the feed is NULL");

	if (!rc && !f->bookmark)
		rc = pp_detail(-EINVAL, "ppdb_feed_ack: the feed was opened without a bookmark");
	if (rc)
		return rc;
	pp_follow_position(f->follow, &at.epoch, &at.skip);
	return write_bookmark(f->db, f->bookmark, &at);
}

/* ---- open and close */

static int copy_options(struct ppdb_feed *f, const ppdb_feed_opts *o)
{
	f->flags = o->flags;
	f->table = o->table;
	f->prefix_size = o->prefix.size;
	if (o->bookmark) {
		f->bookmark = strdup(o->bookmark);
		if (!f->bookmark)
			return pp_detail(-ENOMEM, "out of memory");
	}
	if (!o->prefix.size)
		return 0;
	f->prefix = malloc(o->prefix.size);
	if (!f->prefix)
		return pp_detail(-ENOMEM, "out of memory");
	memcpy(f->prefix, o->prefix.data, o->prefix.size);
	return 0;
}

/* Where it begins; *fresh: at a bookmark that is to be made. */
static int beginning(struct ppdb_feed *f, const ppdb_feed_opts *o, struct pp_bookmark *at, bool *fresh)
{
	struct pp_session *s = pp_bell_session(f->bell);
	uint64_t open = pp_load_acq(&s->map->region.globals->open_epoch);
	int rc = f->bookmark ? pp_bookmark_read(&s->t, f->bookmark, at) : PPDB_NOTFOUND;

	if (rc != PPDB_NOTFOUND)
		return rc;
	*fresh = f->bookmark;
	*at = (struct pp_bookmark){.epoch = o->flags & PPDB_FEED_SEQ ? o->seq : open - 1};
	rc = o->flags & PPDB_FEED_SEQ ? pp_link_lost(f->db, s->map, at->epoch) : 0;
	if (!rc && at->epoch > open)
		rc = pp_detail(-EINVAL, "position %llu is in the future: the store has come to %llu", (unsigned long long)at->epoch,
			       (unsigned long long)open);
	return rc;
}

static int begin(struct ppdb_feed *f, const ppdb_feed_opts *o)
{
	struct pp_follow_source source = {.open = open_segment, .limit = limit, .wanted = wanted, .ctx = f};
	struct pp_bookmark at;
	bool fresh = false;
	int rc = pp_bell_open(f->db, &f->bell);

	if (rc)
		return rc;
	source.store_id = pp_bell_session(f->bell)->map->region.fixed.store_id;
	rc = pp_follow_new(&source, &f->follow);
	if (!rc)
		rc = beginning(f, o, &at, &fresh);
	if (!rc && fresh) /* before the look: from now on the log behind it is kept */
		rc = write_bookmark(f->db, f->bookmark, &at);
	if (rc)
		return rc;
	rc = pp_follow_seek(f->follow, at.epoch, at.skip);
	if (rc && fresh) {
		char why[256];

		snprintf(why, sizeof(why), "%s", pp_detail_get());
		write_bookmark(f->db, f->bookmark, NULL);
		pp_detail(rc, "%s", why);
	}
	return rc;
}

PPDB_API int ppdb_feed_open(ppdb *db, const ppdb_feed_opts *opts, ppdb_feed **out)
{
	ppdb_feed_opts o;
	struct ppdb_feed *f;
	int rc = pp_args_copy(&o, sizeof(o), opts, PPDB_FEED_SEQ | PPDB_FEED_TABLE, "ppdb_feed_open");

	if (!rc && (!out || !db || o.reserved || (o.prefix.size && !o.prefix.data)))
		rc = pp_detail(-EINVAL, "ppdb_feed_open: a NULL pointer, or reserved is not 0");
	if (!rc && o.prefix.size > PP_KEY_MAX)
		rc = pp_detail(PPDB_KEYSIZE, "a prefix of %zu bytes", o.prefix.size);
	if (!rc && o.bookmark)
		rc = named(o.bookmark);
	if (!rc && o.bookmark && db->readonly)
		rc = pp_detail(PPDB_READONLY, "a bookmark needs a handle that may write");
	if (rc)
		return rc;
	f = calloc(1, sizeof(*f));
	if (!f)
		return pp_detail(-ENOMEM, "out of memory");
	f->db = db;
	rc = copy_options(f, &o);
	if (!rc)
		rc = begin(f, &o);
	if (rc) {
		ppdb_feed_close(f);
		return rc;
	}
	pp_bell_ring(f->bell); /* there may be something already */
	*out = f;
	return 0;
}

PPDB_API void ppdb_feed_close(ppdb_feed *f)
{
	if (!f)
		return;
	pp_follow_free(f->follow);
	pp_bell_close(f->bell);
	free(f->bookmark);
	free(f->prefix);
	free(f);
}

PPDB_API int ppdb_feed_fd(const ppdb_feed *f)
{
	return f ? pp_bell_fd(f->bell) : -EINVAL;
}

/* ---- changes */

static bool gone_for_long(struct ppdb_feed *f)
{
	uint64_t gone_ns;

	return pp_link_down(f->db, &gone_ns) && gone_ns > PP_GONE_LIMIT_NS;
}

/* Nothing there: the bell is armed for the next durable epoch, and what came meanwhile is looked for once more. */
static int next_or_sleep(struct ppdb_feed *f, struct pp_follow_change *c)
{
	struct pp_globals *g;
	uint64_t durable;
	int rc;

	for (;;) {
		g = pp_bell_session(f->bell)->map->region.globals;
		durable = pp_load_acq(&g->durable_epoch);
		rc = pp_follow_next(f->follow, c);
		if (rc == PPDB_DAEMON_GONE && !gone_for_long(f)) { /* it wants a file */
			pp_bell_retry(f->bell);
			return PPDB_NOTFOUND;
		}
		if (rc != PPDB_NOTFOUND || pp_bell_arm(f->bell, durable + 1) || pp_load_acq(&g->failed))
			break;
	}
	if (rc == PPDB_NOTFOUND && gone_for_long(f))
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd is gone; start it with 'ppdb start'");
	return rc;
}

PPDB_API int ppdb_feed_next(ppdb_feed *f, ppdb_change *out)
{
	struct pp_follow_change c;
	int rc = f && out ? pp_bell_forked(f->bell) : pp_detail(-EINVAL, "ppdb_feed_next: a NULL pointer");

	if (rc)
		return rc;
	if (!pp_follow_waiting(f->follow)) { /* else what was read already goes first, without a system call */
		rc = pp_bell_turn(f->bell);
		if (rc)
			return rc;
	}
	rc = next_or_sleep(f, &c);
	if (rc)
		return rc;
	*out = (ppdb_change){
		.key = {c.key, c.key_size},
		.value = {c.deleted ? NULL : c.value, c.deleted ? 0 : c.size},
		.version = c.version,
		.expires_ms = c.expires_ms,
		.seq = c.epoch,
		.table = c.table,
		.flags = (c.deleted ? PPDB_CHANGE_DELETED : 0) | (c.more_batch ? PPDB_CHANGE_BATCH : 0) | (c.more_epoch ? PPDB_CHANGE_MORE : 0),
	};
	return 0;
}

PPDB_API int ppdb_feed_lag(ppdb_feed *f, ppdb_feed_behind *out)
{
	uint64_t skip;
	int rc = f && out ? pp_bell_forked(f->bell) : pp_detail(-EINVAL, "ppdb_feed_lag: a NULL pointer");

	if (rc)
		return rc;
	pp_follow_position(f->follow, &out->seq, &skip);
	out->reached = pp_load_acq(&pp_bell_session(f->bell)->map->region.globals->durable_epoch);
	out->writes = pp_follow_behind(f->follow);
	return 0;
}
