/*
 * play_internal.h - what the parts of play.h share: the cast of one seed and what it wrote down.
 */
#ifndef TESTS_LIB_PLAY_INTERNAL_H
#define TESTS_LIB_PLAY_INTERNAL_H

#include "engine/keeper_internal.h"
#include "shm/errors.h"
#include "tests/lib/linear.h"
#include "tests/lib/play.h"
#include "tests/lib/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAY_CLIENTS 4
#define PLAY_KEYS 3
#define PLAY_NOTES 1024
#define PLAY_CUTS 32
#define PLAY_TABLES 24             /* that one seed makes at most */
#define PLAY_TABLE_KEYS 2
#define PLAY_FIRST 1000            /* value of prefilled key i: this + i */

struct play_note {                 /* one operation on one key; `op.value` of an open one is what it would write */
	struct linear_op op;
	uint64_t tag;
	bool write, nothing;       /* nothing: known not to have happened */
	bool refused;              /* there was no such table */
};

struct play_cut {                  /* what a snapshot showed; version 0 = absent */
	uint64_t s;
	struct { uint64_t value, version; } key[PLAY_KEYS];
};

struct play_client {
	struct play *play;
	unsigned number;
	int thread;                /* of the scheduler */
	uint32_t proc;
	uint64_t life;             /* state of its record: later lives of the record have another */
	bool announced;            /* its death */
	unsigned ops;
	struct pp_thread t;
	struct test_random r;
	uint64_t seen;             /* greatest tag it met */
	uint64_t version[PLAY_KEYS];
	pp_ref held;               /* a reservation that it has not published yet, 0 = none */
	uint64_t held_value, held_size;
	unsigned reserved;         /* how many it made */
	uint32_t table;            /* id that it knows, 0 = none */
};

struct play {
	struct pp_keeper *keeper;  /* of the daemon that opened the store last */
	unsigned daemons;          /* its number among them, from 1 */
	bool restarts;
	unsigned clients, keys;
	char key[PLAY_KEYS][8];    /* ascending */
	struct play_client client[PLAY_CLIENTS];
	bool at_once;              /* the daemon learns of a stopped client at once, else when all others have ended */
	struct play_note note[PLAY_NOTES];
	unsigned notes;
	struct play_cut cut[PLAY_CUTS];
	unsigned cuts;
	bool tables;               /* clients make and drop a table, too */
	uint32_t table[PLAY_TABLES]; /* ids that were seen; their keys are numbered from PLAY_KEYS + 1, the name is PLAY_KEYS */
	unsigned tables_seen;
	uint64_t records;          /* in the log before */
};

/* play_work.c: what a client does. */
void play_client(void *client);
struct play_note *play_note(struct play *p, unsigned process, enum linear_kind kind, unsigned key);
/* The number that a value stands for; fails when it is torn. */
uint64_t play_value(const void *data, uint64_t size);
struct pp_key play_key(const struct play *p, unsigned key);
void play_note_end(struct play_note *n, bool ok);
/* A number as text, sometimes with many zeros in front; returns its bytes. */
#define PLAY_LONG 1100             /* not inline */
uint64_t play_make_value(struct play_client *c, uint64_t id, char *to);

/* play_table.c: one operation on the table, or on a key of it; what is left of it at the end; what all of them say. */
void play_table(struct play_client *c);
void play_table_last(struct play *p, struct pp_thread *t);
void play_table_judge(struct play *p);

/* play.c: the next daemon opens the store; `cold` = the arena is gone. */
void play_reopen(struct play *p, bool cold);

/* play_judge.c: when all have ended. Fails by sched_fail. */
void play_judge(struct play *p);
/* Are the operations on this key linearizable? */
void play_judge_key(struct play *p, unsigned key, const char *name);
/* The keeper works until nothing is left to do. */
void play_rest(struct pp_keeper *k);

#endif
