/*
 * model_set.h - an ordered map in plain memory that a store is compared with.
 *
 * The universe of keys is made first and sorted; the model says for each key what a store must answer. Values are not kept but
 * made again from a number, so that a copy of the whole model (for a snapshot) is one memcpy.
 */
#ifndef TESTS_SYSTEM_MODEL_SET_H
#define TESTS_SYSTEM_MODEL_SET_H

#include "tests/lib/store.h"

enum model_kind { MODEL_ABSENT = 0, MODEL_BYTES, MODEL_NUMBER };

struct model_key {
	const uint8_t *bytes;
	uint32_t size;
};

struct model_state {
	uint8_t kind;
	bool exact;              /* version is known, else it is the least that it can be */
	bool jumps;              /* the next write is the first one since a cold start: nobody says how far the version goes up */
	uint32_t size;           /* of BYTES */
	uint64_t version;        /* also of an absent key: the last that it had */
	uint64_t value;          /* seed of BYTES, or the number */
	uint64_t expires_low, expires_high;
	uint64_t changed;        /* when, counted in operations */
};

struct model {
	uint32_t n, present;
	struct model_key *keys;  /* sorted, no duplicates */
	struct model_state *now;
	uint64_t clock;          /* operations so far */
};

enum model_shape {
	MODEL_MIXED,    /* all of the below */
	MODEL_COUNTED,  /* 16 bytes, decimal */
	MODEL_SHORT,    /* 1 to 4 bytes of few values, 0x00 and 0xff among them */
	MODEL_NESTED,   /* each a prefix of the next */
	MODEL_SHARED,   /* long shared prefixes, around the limits of 8-byte slices and of a key */
	MODEL_RANDOM,   /* 1 to 64 random bytes */
	MODEL_SHAPES
};

/* Makes up to n keys of a shape (fewer when they repeat). */
void model_make(struct model *m, enum model_shape shape, uint32_t n, struct test_random *r);
void model_free(struct model *m);

/* Index of the first key >= k. */
uint32_t model_lower(const struct model *m, const void *key, size_t size);
/* The next present key at or after, at or before i; n = none (for prev, i may be n: from the end). */
uint32_t model_next(const struct model_state *now, uint32_t n, uint32_t i);
uint32_t model_prev(const struct model_state *now, uint32_t n, uint32_t i);
int model_compare(const void *a, size_t na, const void *b, size_t nb);

static inline ppdb_slice model_slice(const struct model *m, uint32_t i)
{
	return (ppdb_slice){m->keys[i].bytes, m->keys[i].size};
}

/* Bytes of a value; never a number. `cap` rounds up to 8. */
void model_fill(uint8_t *to, uint64_t seed, uint32_t size);
/* NULL, or what is wrong with these bytes. */
const char *model_value_wrong(const struct model_state *s, const void *data, size_t size);
/* NULL, or what is wrong with this item; learns an inexact version. */
const char *model_item_wrong(const struct model *m, struct model_state *s, uint32_t i, const ppdb_item *item);
/* A size as programs have them: mostly small, sometimes 0, now and then large. */
uint32_t model_size(struct test_random *r);
/* Key i as text for messages: the beginning and the size. */
const char *model_text(const struct model *m, uint32_t i);

#endif
