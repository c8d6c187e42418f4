/*
 * chain: the version chain of one key (design: write path, snapshots; engine/version.c).
 *
 * INITIAL committed versions, version n with tag n, stand when it begins. Writers install on top (helping an undecided head first)
 * and commit with the open epoch; the first one may be aborted (its writer died, a reaper came); an aborted head is left in the chain and skipped, or with
 * -DREPLACE the next writer takes its place and retires it. Pruners take a copy of (P, held set), then unlink versions that nobody
 * needs (freeze the victim's `older`, CAS the predecessor's, which must not be frozen) or cut a whole tail (CAS -> CUT). With -DDEATH
 * the newest of them is a tombstone; a remover turns the head to DEAD once the tail below the tombstone has been cut: the head is the tombstone, or
 * an aborted version right above it, which goes with it.
 *
 * A pruner that meets a predecessor with a frozen `older` STOPS (one look; if it freezes right after, the CAS fails and it stops too). If it walked on, it could change `older` of an aborted version
 * that a reader, who saw the version above undecided, is just about to follow: that reader would answer with an old version.
 *
 * Asserted: a LATEST reader returns a version that was the newest committed one at some moment of its call; a snapshot reader
 * returns the newest with tag <= S; what commits was not taken out before; what is retired is not reachable from the head; at the end what is unreachable is retired.
 *
 * @short -DINITIAL=2 -DPROCS=1 -DEACH=2 -DPRUNERS=1 -DLATEST
 * @extra -DINITIAL=2 -DPROCS=2 -DEACH=1 -DPRUNERS=0 -DLATEST
 * @extra -DINITIAL=4 -DPROCS=0 -DEACH=0 -DPRUNERS=2 -DSNAPSHOT
 * @extra -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=1 -DSNAPSHOT
 * @extra -DINITIAL=2 -DPROCS=1 -DEACH=2 -DPRUNERS=1 -DLATEST -DREPLACE
 * @extra -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=1 -DDEATH -DLATEST
 * @full -DINITIAL=2 -DPROCS=2 -DEACH=1 -DPRUNERS=1 -DLATEST
 * @full -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=2 -DLATEST -DABORTED_HEAD
 * @full -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=2 -DSNAPSHOT
 * @mutant M_STATE_FIRST      readers load `state` before `older`
 * @mutant M_UNDECIDED        an undecided version counts as the successor that makes the one below superfluous
 * @mutant M_TWO_UNDECIDED -DINITIAL=2 -DPROCS=2 -DEACH=1 -DPRUNERS=0 -DLATEST  a writer installs on an undecided head
 * @mutant M_MINIMUM -DINITIAL=4 -DPROCS=0 -DEACH=0 -DPRUNERS=2 -DSNAPSHOT      versions go by P alone, whatever is held
 * @mutant M_NO_FREEZE -DINITIAL=4 -DPROCS=0 -DEACH=0 -DPRUNERS=2 -DSNAPSHOT    a victim's `older` is not frozen
 * @mutant M_LOSER_RETIRES -DINITIAL=4 -DPROCS=0 -DEACH=0 -DPRUNERS=2 -DSNAPSHOT  who lost the unlinking CAS retires too
 * @slow_mutant M_PASS_FROZEN -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=2 -DLATEST -DABORTED_HEAD  a pruner walks on below a frozen predecessor
 * @mutant M_DEATH_UNDECIDED -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=1 -DDEATH -DLATEST  DEAD over an undecided head
 * @mutant M_DEATH_ONE -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=1 -DDEATH -DLATEST  the tombstone below an aborted head is not retired with it
 * @mutant M_DEATH_UNCUT -DINITIAL=2 -DPROCS=1 -DEACH=1 -DPRUNERS=1 -DDEATH -DLATEST  DEAD while versions hang below
 */
#define VERSIONS (INITIAL + 3 + PROCS * EACH)
#define NONE 0
#define PENDING 1
#define COMMITTED 2
#define ABORTED 3
#define FROZEN 16
#define CUT 32
#define REF 15
#define DEAD 99

byte head = INITIAL;
byte state[VERSIONS], tag[VERSIONS], older[VERSIONS];
byte place[VERSIONS];		/* ghost: order of commits */
bool retired[VERSIONS];
byte used = INITIAL + 1;
byte E = INITIAL + 1;		/* P = E - 1: whatever commits from here on has at least tag E */
byte newest = INITIAL;		/* ghost: newest committed version */
byte places = INITIAL;
byte held = 0;			/* the snapshot that is held, 0 none */
byte always_held = 0;		/* another one, held to the end */
byte running = 0;
#ifdef ABORTED_HEAD
bool reader_in = false;		/* it passed the undecided version; the rest begins here, to keep the search small */
#endif

#define IN(s, tv, tw) ((s) && (tv) <= (s) && (s) < (tw))
#ifdef M_MINIMUM
#define NEEDED(tv, tw) ((tw) > P)
#else
#define NEEDED(tv, tw) ((tw) > P || IN(S, tv, tw) || IN(always_held, tv, tw))
#endif

inline reachable(v) {
	r = head;
	do
	:: r == v || r == 0 || r == DEAD -> break
	:: else -> r = older[r] & REF
	od
}

/* header LIVE -> RETIRED: one winner whoever tries */
inline retire(v) {
	atomic {
		reachable(v);
		assert(r != v);
		retired[v] = true;
		r = 0
	}
}

inline commit(v) {
	atomic {
		if
		:: state[v] == PENDING ->
			assert(!retired[v]);
			state[v] = COMMITTED;
			tag[v] = E;
			places++;
			place[v] = places;
			newest = v
		:: else
		fi
	}
}

inline cut(v) {
	o = older[v];
	if
	:: o != 0 && !(o & (CUT | FROZEN)) ->
		atomic {
			if
			:: older[v] == o -> older[v] = CUT
			:: else -> o = 0
			fi
		};
		do
		:: o != 0 ->
			x = older[o] & REF;
			retire(o);
			o = x
		:: else -> break
		od
	:: else
	fi
}

proctype writer() {
	byte h, v, o, r, n = 0;

#ifdef ABORTED_HEAD
	reader_in;
#endif
	do
	:: n < EACH ->
		d_step { n++; v = used; used++ };
		do
		:: h = head;
			if
			:: h == DEAD -> goto out
#ifndef M_TWO_UNDECIDED
			:: h != DEAD && state[h] == PENDING -> commit(h)
			:: h != DEAD && state[h] != PENDING ->
#else
			:: h != DEAD ->
#endif
				o = h;
#ifdef REPLACE
				if
				:: state[h] == ABORTED -> o = older[h] & REF
				:: else
				fi;
#endif
				atomic {
					if
					:: head == h -> older[v] = o; state[v] = PENDING; head = v; break
					:: else
					fi
				}
			fi
		od;
#ifdef REPLACE
		if
		:: o != h -> retire(h)
		:: else
		fi;
#endif
		if
		:: commit(v)
		:: v == INITIAL + 1 ->	/* never with -DABORTED_HEAD */
			/* its owner died: the reaper's turn */
			d_step {
				if
				:: state[v] == PENDING -> state[v] = ABORTED
				:: else
				fi
			}
		fi;
		d_step { h = 0; v = 0; o = 0 }
	:: else -> break
	od;
out:	running--
}

proctype clock() {
#ifdef ABORTED_HEAD
	E = E + 1;
#endif
	d_step { E = E + 1; running-- }
}

proctype pruner() {
	byte P, S, at, v = 0, newer = 0, o, x, st, tg, r;

#ifdef ABORTED_HEAD
	places > INITIAL && E > INITIAL + 1;
#endif
	d_step { P = E - 1; S = held };
	at = head;
	do
	:: at == 0 || at == DEAD -> break
	:: else ->
		o = older[at];
		d_step { st = state[at]; tg = tag[at] };
#ifndef M_PASS_FROZEN
		if
		:: v != 0 && (older[v] & FROZEN) -> break
		:: else
		fi;
#endif
		if
#ifdef M_PASS_FROZEN
		:: v != 0 && !(older[v] & FROZEN) &&
#else
		:: v != 0 &&
#endif
		   (st == ABORTED || (st == COMMITTED && newer && (tg == newer || !NEEDED(tg, newer)))) ->
#ifndef M_NO_FREEZE
			atomic { older[at] = older[at] | FROZEN; o = older[at] & (255 - FROZEN) };
#else
			o = older[at] & (255 - FROZEN);
#endif
			atomic {
				if
				:: older[v] == at -> older[v] = o; x = 1
				:: else -> x = 0
				fi
			};
			if
			:: x == 1 -> retire(at)
			:: else ->
#ifdef M_LOSER_RETIRES
				retire(at);
#endif
				break
			fi;
			at = older[v];
			if
			:: at & CUT -> break
			:: else -> at = at & REF
			fi
		:: else ->
			if
			:: st == COMMITTED ->
				if
				:: tg <= P && (S == 0 || S >= tg) && (always_held == 0 || always_held >= tg) -> cut(at); o = older[at]
				:: else
				fi;
				newer = tg
#ifdef M_UNDECIDED
			:: st == PENDING -> newer = P
#endif
			:: else
			fi;
#ifdef M_UNDECIDED
			v = at;
#else
			v = (st == COMMITTED || st == ABORTED -> at : 0);
#endif
			if
			:: o & CUT -> break
			:: else -> at = o & REF
			fi
		fi
	od;
	skip; d_step { running--; P = 0; S = 0; at = 0; v = 0; newer = 0; o = 0; x = 0; st = 0; tg = 0 }
}

proctype reader() {
	byte at, o, st, tg, S, want, k;

#ifdef SNAPSHOT
	/* either held from the start, or taken now: all with a tag below E are committed */
	d_step {
		if
		:: held -> S = held
		:: else -> S = E - 1; held = S
		fi;
		do
		:: k < VERSIONS ->
			if
			:: state[k] == COMMITTED && tag[k] <= S && (want == 0 || place[k] > place[want]) -> want = k
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0
	};
#else
	d_step { S = DEAD; want = place[newest] };
#endif
again:	at = head;
	do
	:: at == 0 || at == DEAD -> break
	:: else ->
#ifdef M_STATE_FIRST
		d_step { st = state[at]; tg = tag[at] };
		o = older[at];
#else
		o = older[at];
		d_step { st = state[at]; tg = tag[at] };
#endif
		if
		:: st == COMMITTED && tg <= S -> break
		:: else ->
			if
			:: o & CUT ->
#ifdef SNAPSHOT
				at = 0;
				break
#else
				goto again
#endif
			:: else ->
				at = o & REF;
#ifdef ABORTED_HEAD
				reader_in = true
#endif
			fi
		fi
	od;
#ifdef SNAPSHOT
	assert(at == want);
	held = 0;
#else
#ifdef DEATH
	assert(at == DEAD || at != 0);
	assert(at == DEAD || place[at] >= want);
#else
	assert(at != 0 && place[at] >= want);
#endif
#endif
	skip; d_step { running--; at = 0; o = 0; st = 0; tg = 0; S = 0; want = 0 }
}

#ifdef DEATH
proctype remover() {
	byte P, S, h, st, o, x, r;

	d_step { P = E - 1; S = held };
	h = head;
	d_step { st = state[h]; o = older[h] };
	if
#ifdef M_DEATH_UNDECIDED
	:: (h == INITIAL || (o & REF) == INITIAL) && (S == 0 || S >= INITIAL) && (always_held == 0 || always_held >= INITIAL) ->
#else
	:: (h == INITIAL || (st == ABORTED && (o & REF) == INITIAL)) && (S == 0 || S >= INITIAL) &&
	   (always_held == 0 || always_held >= INITIAL) ->
#endif
#ifndef M_DEATH_UNCUT
		cut(INITIAL);
		if
		:: older[INITIAL] != CUT -> goto out	/* another pruner is at it */
		:: else
		fi;
#endif
		atomic {
			if
			:: head == h -> head = DEAD
			:: else -> goto out
			fi
		};
		if
		:: h != INITIAL -> retire(h)
		:: else
		fi;
#ifdef M_DEATH_ONE
		if
		:: h == INITIAL -> retire(INITIAL)
		:: else
		fi
#else
		retire(INITIAL)
#endif
	:: else
	fi;
out:	skip; d_step { running--; P = 0; S = 0; h = 0; st = 0; o = 0; x = 0 }
}
#endif

proctype last_look() {
	byte k = 1, r;

	atomic {
		running == 0 -> skip;
		do
		:: k < VERSIONS ->
			if
			:: state[k] != NONE ->
				reachable(k);
				assert((r == k) == !retired[k])
			:: else
			fi;
			k++
		:: else -> break
		od
	}
}

init {
	byte k = 0;

	atomic {
		k = 1;
		do
		:: k <= INITIAL -> state[k] = COMMITTED; tag[k] = k; place[k] = k; older[k] = k - 1; k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < INITIAL -> k++
		:: break
		od;
#ifdef SNAPSHOT
		held = k;
		if
		:: always_held = 0
		:: always_held = 1
		fi;
#else
		always_held = k;
#endif
		k = 0;
#ifdef ABORTED_HEAD
		/* an aborted version, and an undecided one that its owner left on top */
		state[used] = ABORTED; older[used] = head; head = used; used++;
		state[used] = PENDING; older[used] = head; head = used; used++;
		always_held = 1;
#endif
		running = PROCS + PRUNERS + 2;
		do
		:: k < PROCS -> run writer(); k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < PRUNERS -> run pruner(); k++
		:: else -> break
		od;
		k = 0;
		run clock();
		run reader();
#ifdef DEATH
		running++;
		run remover();
#endif
		run last_look()
	}
}
