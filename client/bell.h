/*
 * bell.h - one pollable descriptor that says: something that was waited for may be durable, or the connection broke, look again.
 * Private to the library; completion queues and feeds have one each. Used by one thread at a time.
 */
#ifndef PP_CLIENT_BELL_H
#define PP_CLIENT_BELL_H

#include "client/internal.h"

struct pp_bell;

/* Takes a slot and connects; the daemon's answer comes later. */
int pp_bell_open(ppdb *db, struct pp_bell **out);
/* NULL is allowed. In a forked child only descriptors and memory go. */
void pp_bell_close(struct pp_bell *);
/* Epoll descriptor: readable when pp_bell_turn should be called. Stays the same. */
int pp_bell_fd(const struct pp_bell *);
/* PPDB_FORKED in a forked child, else 0. */
int pp_bell_forked(const struct pp_bell *);
/*
 * Takes what came, finds the next daemon and the next arena. Never blocks for longer than a look at the socket. Call it, look at what you
 * wait for, and arm. An error: no slot in the new arena; the descriptor stays readable now and then, so that it is tried again.
 */
int pp_bell_turn(struct pp_bell *);
/* The descriptor becomes readable when `epoch` is durable or the log failed. False: it is already, look again at once. 0 disarms. */
bool pp_bell_arm(struct pp_bell *, uint64_t epoch);
/* The descriptor becomes readable now. */
void pp_bell_ring(struct pp_bell *);
/* The descriptor becomes readable in a little while. */
void pp_bell_retry(struct pp_bell *);
/* The session behind it (after pp_bell_turn: on the current mapping). */
struct pp_session *pp_bell_session(struct pp_bell *);

#endif
