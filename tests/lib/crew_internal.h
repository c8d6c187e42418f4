/*
 * crew_internal.h - what the files of the crew share: crew.c (the crew from outside), crew_work.c (a member's process) and
 * crew_judge.c (what a store must hold).
 */
#ifndef TESTS_LIB_CREW_INTERNAL_H
#define TESTS_LIB_CREW_INTERNAL_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */

#include "tests/lib/crew.h"

#include <inttypes.h>
#include <string.h>

static inline ppdb_slice crew_text(const char *s)
{
	return (ppdb_slice){s, strlen(s)};
}

/* A member's process: `arg` is {struct crew_member *, struct crew *}. */
void crew_work(void *arg);

/* ---- a member's process ----------------------------------------------------------------------------------------- */

#define CREW_HELD 4

struct crew_self {
	struct crew *c;
	struct crew_member *m;
	ppdb *db;
	ppdb_view *view;
	struct test_random r;
	uint8_t *buf;
	ppdb_seq ticket;                     /* of the last crew_put */
	ppdb_reservation *held[CREW_HELD];   /* filled in and not published */
	struct crew_loop *loop;              /* of a member that waits in an event loop */
	struct crew_reader *reader;          /* of one that follows the changes */
	ppdb_table shared, shared_gone;      /* number of the table of all, 0 = unknown; the last one that was dropped, durably */
};

/* Each operation is noted before it begins, for the watch. */
void __attribute__((format(printf, 2, 3))) crew_op(struct crew_self *s, const char *fmt, ...);
void crew_op_end(struct crew_self *s);
void crew_took(struct crew_self *s, enum crew_kind kind, uint64_t began_ns);

/* Times a call if it succeeds. */
#define CREW_TIMED(s, kind, call)                                \
	({                                                  \
		uint64_t began_ = test_now_ns();            \
		int timed_ = (call);                        \
		if (!timed_)                                \
			crew_took(s, kind, began_);              \
		timed_;                                     \
	})

/* Did the write take place? false: nothing happened, try again. Any other failure ends the test. */
bool crew_happened(struct crew_self *s, int rc, ppdb_seq ticket, bool *durable);
/* Must this failure be expected, because the daemon may be dead? */
bool crew_tolerates(const struct crew_self *s, int rc);

/* One write whose result may also be a failed precondition. */
#define CREW_TRY(s, call)                                                                                                        \
	({                                                                                                                  \
		bool durable_;                                                                                              \
		int rc_;                                                                                                    \
		do {                                                                                                        \
			ticket = 0;                                                                                         \
			rc_ = (call);                                                                                       \
			if (rc_ == PPDB_NOTFOUND || rc_ == PPDB_EXISTS || rc_ == PPDB_CONFLICT)                             \
				break;                                                                                      \
		} while (!crew_happened(s, rc_, ticket, &durable_));                                                             \
		rc_;                                                                                                        \
	})

/* Puts until it happened; true if it was acknowledged as durable. */
bool crew_put(struct crew_self *s, const char *key, const void *value, size_t size, const ppdb_wopts *opts);
/* A new generation counts only from a durable write in the new arena on. */
bool crew_renew(struct crew_self *s);
/* A stamped value of random size in s->buf. */
size_t crew_fill(struct crew_self *s, uint64_t key);
size_t crew_fill_size(struct crew_self *s, uint64_t key, size_t size);

/* crew_place.c: a value that is filled in place, published now or later or never; a new time to live. */
void crew_place(struct crew_self *s, uint64_t k, const char *key);
void crew_touch(struct crew_self *s, const char *key);
void crew_place_end(struct crew_self *s);

/* crew_loop.c: a completion queue says what is durable. */
void crew_loop_open(struct crew_self *s);
void crew_loop_submit(struct crew_self *s, uint64_t generation, uint64_t n);
void crew_loop_close(struct crew_self *s);

/* crew_table.c: TABLES, and what CHURNs do with the table that all share. */
void crew_tables(struct crew_self *s);
void crew_shared_table(struct crew_self *s);
/* What a member's table must hold after a restart. */
void crew_judge_table(struct crew *c, ppdb_view *v, ppdb *db, const struct crew_member *m, bool all);

/* crew_follow.c: FEED. */
void crew_feed(struct crew_self *s);
void crew_feed_end(struct crew_self *s);

/* A moment from which on a value that still has a time to live does so for the whole of a test's step. */
uint64_t crew_far_ms(void);

/* Prints epochs, slots and the account of memory, for failures. */
void crew_describe_store(ppdb *db);

/* crew_move.c: a batch that moves an amount between accounts; 0, or why it was not done (nothing happened if *ticket is 0). */
int crew_move(ppdb *db, ppdb_view *view, struct test_random *r, ppdb_seq *ticket);
/* All accounts are there or none, and the total is what it was. The view is a snapshot. */
void crew_judge_accounts(ppdb_view *v, const char *when);

/* A snapshot shows the same keys and values at two moments: no phantoms. */
void crew_judge_repeatable(ppdb_view *v, const char *when);

/* The number that ends a key; keys in the arena have no NUL behind them. */
uint64_t crew_key_number(ppdb_slice key, size_t at);
void crew_seq_prefix(char *to, size_t cap, unsigned number, uint64_t generation);

/* Value of a chain key in a view (21 bytes and a NUL): false = not there. */
bool crew_chain_value(ppdb_view *v, unsigned i, char *value);
/* Each link of the chain holds nothing newer than the link before. */
void crew_judge_chain(ppdb_view *v, uint64_t generation, const char *when);
/* First and last number of a sequence, which must have no gap. 0 = empty. */
void crew_judge_sequence(ppdb_view *v, unsigned number, uint64_t generation, const char *when, uint64_t *last);

#endif
