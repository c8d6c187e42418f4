/*
 * solo.h - a whole store in one thread of the test: the keeper's duties and its clients' operations are called in turn, and a model in plain
 * memory knows what the store must hold. Nothing runs by itself, so a forked copy of the test is a copy of the store.
 *
 *   static struct solo s;
 *   solo_open(&s, (struct solo_options){.sync = PP_SYNC_MUTEX});
 *   solo_put(&s, "key", 1, 100);             // by client s.other; the model learns it
 *   solo_turns(&s, 5);                       // the daemon's threads, one after the other
 *   ... another process writes as s.victim ...
 *   solo_maybe(&s, &w);                      // that write may or may not have happened
 *   solo_bury(&s, s.victim_proc);            // its process is dead
 *   solo_settle(&s);                         // until nothing of it is left
 *   solo_judge(&s, true);                    // every key, both ways, and every byte
 */
#ifndef TESTS_LIB_SOLO_H
#define TESTS_LIB_SOLO_H

#include "engine/keeper.h"
#include "shm/slot.h"
#include "shm/sync.h"

#define SOLO_KEYS 8192
#define SOLO_WRITES 16384
#define SOLO_MAYBE 2

struct solo_value {
	bool present;
	uint64_t version;              /* 0 = not known */
	size_t size;
	char *bytes;
};

struct solo_key {
	char *name;
	struct solo_value now;
	struct solo_value maybe[SOLO_MAYBE]; /* or one of these, if that write happened; in the order of the writes */
	unsigned maybes;
	bool seen;                     /* the key was read and absent, as one of them makes it: that write has happened */
};

struct solo_write {                    /* what was written in which order, for prefixes */
	unsigned key;
	uint64_t tag;
	struct solo_value value;
};

struct solo_options {
	uint32_t sync, shards, strategy, slots;
	uint64_t memory_bytes, segment_bytes;
};

struct solo {
	struct solo_options options;
	struct pp_keeper *keeper;
	struct pp_region *region;
	char dir[64], data[96], arena[96];
	uint32_t victim_proc, other_proc;
	struct pp_thread victim, other;
	struct solo_key key[SOLO_KEYS];
	unsigned keys;
	struct solo_write *write;
	unsigned writes, limbo;
};

void solo_open(struct solo *, struct solo_options);
/* Another keeper opens files copied elsewhere, and must do so warm or not. The clients go on in that region, or, when they were not attached to
 * it, attach. */
void solo_adopt(struct solo *, const char *data, const char *arena, bool warm, bool attached);
void solo_end(struct solo *);          /* removes the files; frees nothing else: the test's process ends */
struct pp_keeper_config solo_config(const struct solo *, const char *data, const char *arena);

/* ---- the daemon ---- */

void solo_turns(struct solo *, unsigned n);
/* Until everything written is durable. */
void solo_durable(struct solo *);
void solo_bury(struct solo *, uint32_t proc);
/* Turns until all buried processes are gone and nothing waits to be freed; fails when that takes more than a few hundred. */
void solo_settle(struct solo *);

/* ---- clients ---- */

uint32_t solo_client(struct solo *, const char *name, uint32_t pid, struct pp_thread *t);
struct pp_key solo_name(const char *name);
/* `size` bytes that tell number and place. */
void *solo_bytes(uint64_t number, size_t size);
/* A write by any client, whose outcome is compared with the model, which then learns it. */
void solo_do(struct solo *, struct pp_thread *, struct pp_write *);
void solo_put(struct solo *, const char *key, uint64_t number, size_t size);
void solo_del(struct solo *, const char *key);
/* Reads a key and compares: an uncertain one is certain afterwards when its write has happened. */
void solo_get(struct solo *, struct pp_thread *, const char *key);
/* All keys from `from` on, at most n, forward or backward. */
void solo_scan(struct solo *, struct pp_thread *, const char *from, unsigned n, bool backward);

/* A client's work on some keys: reads, in three of four cases writes too, and a scan; `variant` chooses. */
void solo_work(struct solo *, struct pp_thread *, const char *const *keys, unsigned n, unsigned variant);

/* ---- the model ---- */

/* This write may have happened, or may happen yet. Two of one key: in that order, if both. */
void solo_maybe(struct solo *, const struct pp_write *);
/* It has returned `rc`, with version and ticket in *w, some time after the writes that the model knows began: it happened before or after
 * them, as its version says, or failed and never happened. */
void solo_returned(struct solo *, const struct pp_write *, int rc);
/* The whole content; `quiet`: and the integrity check, exactly. */
void solo_judge(struct solo *, bool quiet);
/* A second keeper reads checkpoint and log of `data` into a region of its own: the result must be what the model held after some
 * write, at least all with tag <= durable. */
void solo_judge_cold(struct solo *, const char *data, uint64_t durable);

/* ---- files ---- */

/* Remembers the files of a folder (and one level below), and puts them back as they were. */
struct solo_files;
struct solo_files *solo_files_keep(const char *dir);
void solo_files_restore(struct solo_files *);
void solo_copy_file(const char *from, const char *to);
void solo_copy_tree(const char *from, const char *to);
void solo_remove_tree(const char *dir);

#endif
