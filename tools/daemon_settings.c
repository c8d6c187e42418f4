/*
 * daemon_settings.c - every key of ppdbd's config file and command line, their defaults, and what the keeper gets of them.
 */
#include "tools/daemon.h"

#include <stdlib.h>

#define AT(field) offsetof(struct pp_settings, field)
#define KB UINT64_C(1024)
#define TB (KB * KB * KB * KB)

const struct pp_conf_key pp_settings_keys[] = {
	{ "name", 'n', PP_CONF_TEXT, AT(name), 0, sizeof(((struct pp_settings *)0)->name), NULL, "NAME",
		"name of the store (default)", true },
	{ "config", 'c', PP_CONF_TEXT, AT(config), 0, PATH_MAX, NULL, "FILE", "config file; without it NAME.conf, if there",
		true },
	{ "data-dir", 'd', PP_CONF_TEXT, AT(data_dir), 0, PATH_MAX, NULL, "DIR", "where log and checkpoints are", false },
	{ "memory", 'm', PP_CONF_SIZE, AT(memory), 16 * KB * KB, TB, NULL, "SIZE", "limit of the shared memory (1G)", false },
	{ "shards", 0, PP_CONF_NUMBER, AT(shards), 1, PP_SHARDS_MAX, NULL, "N", "shards (4)", false },
	{ "strategy", 0, PP_CONF_CHOICE, AT(strategy), 0, 0, "single|range|hash", "WORD",
		"how keys are spread over shards: single, range, hash (range)", false },
	{ "sync", 0, PP_CONF_CHOICE, AT(sync), 0, 0, "lockfree|mutex", "WORD", "lockfree, or mutex to queue writers of a key",
		false },
	{ "slots", 0, PP_CONF_NUMBER, AT(slots), 4, PP_MAX_SLOTS - 6, NULL, "N", "threads and views at once (256)", false },
	{ "clients", 0, PP_CONF_NUMBER, AT(clients), 2, 4096, NULL, "N", "attached processes at once (256)", false },
	{ "clients-per-user", 0, PP_CONF_NUMBER, AT(clients_per_user), 1, 4096, NULL, "N",
		"of these, for one user (all; root has no limit)", false },
	{ "control-slots", 0, PP_CONF_NUMBER, AT(control_slots), 2, PP_CONTROL_SLOTS_MAX, NULL, "N",
		"threads and views of a read-only client (64)", false },
	{ "ring", 0, PP_CONF_NUMBER, AT(ring), 0, 32768, NULL, "N", "log ring entries a slot, a power of two (by memory)",
		false },
	{ "stripes", 0, PP_CONF_NUMBER, AT(stripes), 1, 65536, NULL, "N", "locks of sync = mutex (1024)", false },
	{ "pages", 0, PP_CONF_CHOICE, AT(pages), 0, 0, "auto|4k|thp|hugetlb", "WORD",
		"page size of the arena: auto, 4k, thp, hugetlb", false },
	{ "numa", 0, PP_CONF_FLAG, AT(numa), 0, 0, NULL, NULL, "spread memory over NUMA nodes and pin threads (yes)", false },
	{ "spin-ns", 0, PP_CONF_NUMBER, AT(spin_ns), 0, 1000000000, NULL, "NS", "longest spinning before a sleep (20000)",
		false },
	{ "backoff-max", 0, PP_CONF_NUMBER, AT(backoff_max), 1, 1000000, NULL, "N", "longest back-off of a retry (1024)",
		false },
	{ "wal-backend", 0, PP_CONF_TEXT, AT(wal_backend), 0, 32, NULL, "WORD",
		"auto, uring-dsync, uring-fsync, pwrite (auto measures)", false },
	{ "wal-segment", 0, PP_CONF_SIZE, AT(wal_segment), 0, 4 * KB * KB * KB, NULL, "SIZE", "size of a log file (64M)",
		false },
	{ "wal-depth", 0, PP_CONF_NUMBER, AT(wal_depth), 0, 64, NULL, "N", "log writes in flight (2)", false },
	{ "pin-seconds", 0, PP_CONF_NUMBER, AT(pin_seconds), 0, 1u << 30, NULL, "N",
		"a view that kept memory from being freed for so long is evicted, 0 = never (86400)", false },
	{ "pin-bytes", 0, PP_CONF_SIZE, AT(pin_bytes), 0, TB, NULL, "SIZE",
		"the same for a process that keeps so much, 0 = no limit (0)", false },
	{ "feed-hold", 0, PP_CONF_SIZE, AT(feed_hold), 0, TB, NULL, "SIZE",
		"log kept at most for bookmarks of the change feed, 0 = no limit (4G)", false },
	{ "checkpoint-bytes", 0, PP_CONF_SIZE, AT(checkpoint_bytes), 0, TB, NULL, "SIZE",
		"log size that starts a checkpoint (1G)", false },
	{ "checkpoint-streams", 0, PP_CONF_NUMBER, AT(checkpoint_streams), 0, 64, NULL, "N",
		"files written at once (number of cores)", false },
	{ "checkpoint-on-stop", 0, PP_CONF_FLAG, AT(checkpoint_on_stop), 0, 0, NULL, NULL, "checkpoint at a clean stop (no)",
		false },
	{ "gather", 0, PP_CONF_FLAG, AT(gather), 0, 0, NULL, NULL, "bring keys into order in memory when there is time (yes)", false },
	{ "house-ms", 0, PP_CONF_NUMBER, AT(house_ms), 1, 10000, NULL, "MS", "pause between rounds of housekeeping when idle (50)",
		false },
	{ "rw-users", 0, PP_CONF_TEXT, AT(rw_users), 0, 512, NULL, "LIST",
		"users that may write besides root and the daemon's own: names, ids, or *", false },
	{ "rw-groups", 0, PP_CONF_TEXT, AT(rw_groups), 0, 512, NULL, "LIST", "groups that may write", false },
	{ "ro-users", 0, PP_CONF_TEXT, AT(ro_users), 0, 512, NULL, "LIST", "users that may read", false },
	{ "ro-groups", 0, PP_CONF_TEXT, AT(ro_groups), 0, 512, NULL, "LIST", "groups that may read", false },
	{ "socket", 0, PP_CONF_TEXT, AT(socket), 0, 108, NULL, "PATH", "socket, if not in the usual place", false },
	{ "arena", 0, PP_CONF_TEXT, AT(arena), 0, PATH_MAX, NULL, "PATH", "file of the shared memory, if not in /dev/shm",
		false },
	{ "log", 0, PP_CONF_TEXT, AT(log), 0, PATH_MAX, NULL, "FILE", "messages of the daemon (DATADIR/ppdbd.log)", false },
	{ "foreground", 'f', PP_CONF_FLAG, AT(foreground), 0, 0, NULL, NULL, "stay in the foreground, messages on stderr",
		false },
	{ "help", 'h', PP_CONF_FLAG, AT(help), 0, 0, NULL, NULL, "this text", true },
	{ "version", 'V', PP_CONF_FLAG, AT(version), 0, 0, NULL, NULL, "the version", true },
	{ .name = NULL },
};

static void defaults(struct pp_settings *s)
{
	memset(s, 0, sizeof(*s));
	strcpy(s->name, "default");
	strcpy(s->wal_backend, "auto");
	s->memory = KB * KB * KB;
	s->shards = 4;
	s->strategy = PP_STRATEGY_RANGE;
	s->slots = 256;
	s->clients = 256;
	s->clients_per_user = 4096;
	s->control_slots = 64;
	s->stripes = 1024;
	s->spin_ns = 20000;
	s->backoff_max = 1024;
	s->house_ms = 50;
	s->feed_hold = 4 * KB * KB * KB;
	s->pin_seconds = 86400;
	s->numa = true;
	s->gather = true;
}

/* Ring entries take at most a sixteenth of the memory, 8192 a slot are plenty. */
static uint64_t ring_for(const struct pp_settings *s)
{
	uint64_t n = 4096;

	while (n > 64 && n * s->slots * sizeof(struct pp_ring_entry) > s->memory / 32)
		n /= 2;
	return n;
}

static int absolute(char *path, size_t cap)
{
	char copy[PATH_MAX], cwd[PATH_MAX];
	int n;

	if (path[0] == '/' || !path[0])
		return 0;
	snprintf(copy, sizeof(copy), "%s", path);
	if (!getcwd(cwd, sizeof(cwd)))
		return pp_detail(-errno, "the current directory is gone: %s", strerror(errno));
	n = snprintf(path, cap, "%s/%s", cwd, copy);
	return n < 0 || (size_t)n >= cap ? pp_detail(-ENAMETOOLONG, "the path %s is too long", copy) : 0;
}

static void fill_in(char *at, size_t cap, const char *otherwise)
{
	if (!at[0])
		snprintf(at, cap, "%s", otherwise);
}

static int complete(struct pp_settings *s)
{
	struct pp_paths p;
	int rc = pp_paths_fill(s->name, &p);

	if (rc)
		return rc;
	fill_in(s->data_dir, sizeof(s->data_dir), p.data);
	fill_in(s->socket, sizeof(s->socket), p.socket);
	fill_in(s->arena, sizeof(s->arena), p.arena);
	rc = absolute(s->data_dir, sizeof(s->data_dir));
	if (!rc)
		rc = absolute(s->socket, sizeof(s->socket));
	if (!rc)
		rc = absolute(s->arena, sizeof(s->arena));
	if (!rc)
		rc = absolute(s->log, sizeof(s->log));
	if (rc)
		return rc;
	if (!s->log[0] && (size_t)snprintf(s->log, sizeof(s->log), "%s/ppdbd.log", s->data_dir) >= sizeof(s->log))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", s->data_dir);
	if (!s->ring)
		s->ring = ring_for(s);
	if (s->ring & (s->ring - 1) || s->ring < 16)
		return pp_detail(-EINVAL, "ring is %llu, it must be a power of two from 16 to 32768", (unsigned long long)s->ring);
	if (s->strategy == PP_STRATEGY_SINGLE)
		s->shards = 1;
	return 0;
}

static int from_args(struct pp_settings *s, int argc, char **argv)
{
	int rest, rc = pp_conf_args(pp_settings_keys, s, argc, argv, &rest);

	if (!rc && rest < argc)
		rc = pp_detail(-EINVAL, "'%s' is not an option; see --help", argv[rest]);
	return rc;
}

int pp_settings_load(struct pp_settings *s, int argc, char **argv)
{
	struct pp_paths p;
	char config[PATH_MAX];
	int rc;

	/* the options are read twice: which file to read stands among them, and they override it */
	defaults(s);
	rc = from_args(s, argc, argv);
	if (rc || s->help || s->version)
		return rc;
	if (!s->config[0]) {
		rc = pp_paths_fill(s->name, &p);
		if (rc)
			return rc;
	}
	snprintf(config, sizeof(config), "%s", s->config[0] ? s->config : p.config);
	bool required = s->config[0];
	defaults(s);
	if (required || !access(config, F_OK))
		rc = pp_conf_file(pp_settings_keys, s, config, "ppdbd");
	if (!rc)
		rc = from_args(s, argc, argv);
	return rc ? rc : complete(s);
}

void pp_settings_keeper(const struct pp_settings *s, uint64_t store_id, struct pp_keeper_config *k)
{
	memset(k, 0, sizeof(*k));
	k->data_dir = s->data_dir;
	k->store_id = store_id;
	k->wal_backend = s->wal_backend;
	k->wal_segment_bytes = s->wal_segment;
	k->wal_depth = (unsigned)s->wal_depth;
	k->checkpoint_bytes = s->checkpoint_bytes;
	k->feed_hold_bytes = s->feed_hold;
	k->pin_seconds = s->pin_seconds;
	k->pin_bytes = s->pin_bytes;
	k->checkpoint_streams = (unsigned)s->checkpoint_streams;
	k->no_gather = !s->gather;
	k->region = (struct pp_region_config){
		.path = s->arena,
		.name = s->name,
		.memory_bytes = s->memory,
		.slots = (uint32_t)s->slots + 6, /* the daemon's own threads take three, its predecessor may still hold three */
		.daemon_slots = 6,
		.procs = (uint32_t)s->clients + 8, /* the daemon, the next one, and ended clients that are not drained yet */
		.ring_entries = (uint32_t)s->ring,
		.stripes = (uint32_t)s->stripes,
		.sync_mode = (uint32_t)s->sync,
		.shards = (uint32_t)s->shards,
		.strategy = (uint32_t)s->strategy,
		.engine_bytes = sizeof(struct pp_engine),
		.layout_hash = pp_layout_hash_engine(),
		.store_id = store_id,
		.pages = (int)s->pages - 1,
		.spin_ns = s->spin_ns,
		.backoff_max = s->backoff_max,
		.numa = s->numa,
	};
}
