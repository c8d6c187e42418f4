/*
 * scene.h - stores in the states that operations can meet: few keys, full leaves, a sealed leaf, a dead cell, another client that
 * stands still in the middle of its write. Each begins with an open, empty store.
 */
#ifndef TESTS_LIB_SCENE_H
#define TESTS_LIB_SCENE_H

#include "tests/lib/instr.h"
#include "tests/lib/solo.h"

/* In one of four buffers, in turn. */
const char *scene_key(const char *format, unsigned i);
void scene_fill(struct solo *, const char *format, unsigned first, unsigned count, unsigned step, size_t size);

void scene_few(struct solo *);             /* k0000, k0010 ... k0190, and "number" was deleted */
void scene_number(struct solo *);          /* the same, "number" is 40 */
void scene_tombstone(struct solo *);       /* k0050 was deleted, and the keeper has not come by */
void scene_expired(struct solo *);         /* k0050 has expired */
void scene_many_versions(struct solo *);   /* of k0050, that the next writer may prune */
void scene_held_versions(struct solo *);   /* a snapshot of s->other holds one of them */
void scene_full_leaf(struct solo *);       /* one leaf, full: k0000 ... k0630 */
void scene_leaves(struct solo *);          /* several: k0000 ... k2990 */
void scene_full_upper(struct solo *);      /* k00000, k00002 ...: the next split of a leaf splits the level above as well */
void scene_long_keys(struct solo *);       /* one full leaf, with a common prefix of 300 bytes */
const char *scene_long_key(void);          /* a new one in the middle of them */
void scene_sealed_leaf(struct solo *);     /* the right one of two is sealed, and its merge not done */
void scene_dead_cell(struct solo *);       /* of k0050: declared dead, still in its leaf */

/* Another client whose write of k0050 hangs on its chain, undecided: before it published it, or after that. It stands still for good. */
void scene_bystander_installed(struct solo *);
void scene_bystander_published(struct solo *);
/* The same with a batch on k0050 and k0070. */
void scene_batch_installing(struct solo *);
void scene_batch_ready(struct solo *);
extern struct instr scene_bystander;       /* pid 0 = none */
extern struct pp_write scene_bystander_op;
extern uint32_t scene_bystander_proc;

#endif
