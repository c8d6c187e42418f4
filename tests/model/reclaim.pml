/*
 * reclaim: interval-based reclamation with an asymmetric barrier, type-stable hints, and the log's references (design: reclamation).
 *
 * Reader: low = high = era; loads the root (or a hint); looks at the era again; if it moved raises high and loads AGAIN. A hint
 * names {block, generation} and may outlive the block: after the era stood still the header must be LIVE and of that generation.
 * Reader's stores to its slot lie in a store buffer (x86) until they drain by themselves or the daemon's membarrier drains them.
 *
 * Writer: allocates (birth = era), links in place of the old block, header LIVE -> RETIRED, and only THEN reads the era that
 * becomes the retire era. (Read between the unlink and the header it is too old: a reader that entered since may still find
 * the block LIVE through a hint.) A RETIRED block without a retire era is nobody's to free.
 *
 * Daemon: era s-1 -> s, membarrier, scan of the slots; then E e -> e+1, close, settle what has tag <= e, durable; then announce {s,
 * intervals}. Freed is a block with retire era < s that no announced interval meets. A reader may also publish a ring entry for the block
 * it holds (helping); whoever settles that entry reads the block.
 *
 * With -DCRASHES the daemon dies anywhere in its round; the next one finds era, E, slots and what was announced last, and begins another round.
 * With -DREADONLY the reader's slot is one that a new daemon does not know until the reader has connected again; until then the reader counts
 * as holding everything since it attached.
 *
 * Asserted: what a reader holds, and what an entry that is being settled names, is not freed (its generation stands).
 *
 * @short -DROOT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2
 * @extra -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2
 * @extra -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2
 * @extra -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2 -DCRASHES=1
 * @extra -DROOT -DREADONLY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2 -DCRASHES=1
 * @full -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2 -DCRASHES=2
 * @full -DROOT -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2
 * @mutant M_NO_RELOAD        no second load after high was raised
 * @mutant M_NO_RAISE         high is not raised
 * @mutant M_SCAN_FIRST       slots scanned before the era bump that bounds the set
 * @mutant M_NO_BARRIER       no membarrier between bump and scan
 * @mutant M_BARRIER_LAST     membarrier after the scan
 * @mutant M_RETIRE_FIRST     retire era read before the unlink
 * @mutant M_HINT_EARLY -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2       header checked before the slot is published
 * @mutant M_HINT_UNSETTLED -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2   header checked before the era stood still
 * @mutant M_NO_GENERATION -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2    a hint is believed when the header is LIVE
 * @mutant M_RETIRE_EARLY -DHINT -DSECTIONS=1 -DSWAPS=2 -DROUNDS=2     retire era read after the unlink, before RETIRED
 * @mutant M_EPOCH_FIRST -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2  E bumped and settled before the scan
 * @mutant M_RESUME -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2 -DCRASHES=1  a new daemon announces what the dead one had scanned
 * @mutant M_OLD_BOUND -DROOT -DENTRY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2 -DCRASHES=1  a new daemon announces its own scan, but drained nothing since
 * @mutant M_UNKNOWN_IDLE -DROOT -DREADONLY -DSECTIONS=1 -DSWAPS=1 -DROUNDS=2 -DCRASHES=1  a reader that has not connected again counts as idle
 */
#ifndef CRASHES
#define CRASHES 0
#endif
#define BLOCKS 3
#define NIL 255
#define IDLE 255
#define FREE 0
#define PRIVATE 1
#define LIVE 2
#define RETIRED 3

byte era = 1, E = 1;
byte state[BLOCKS], gen[BLOCKS], birth[BLOCKS];
byte retired[BLOCKS];		/* retire era, 0 = not known yet */
byte root = 0;
byte hint_block = 0, hint_gen = 0;
byte slot_low = IDLE, slot_high = 0;
chan buffer = [5] of { bit, byte };	/* reader's stores on their way: 0 low, 1 high */
byte entry_block = NIL, entry_gen, entry_tag;
byte set_era = 0, set_low = IDLE, set_high = 0;
bool reader_done = false, writer_done = false;
bool known = true;		/* the daemon knows the reader's slot */

inline apply(w, v) {
	if
	:: w == 0 -> slot_low = v
	:: else -> slot_high = v
	fi
}

proctype drain() {
	bit w;
	byte v;

end:	do
	:: atomic { buffer?w, v -> apply(w, v); w = 0; v = 0 }
	od
}

#define HELD_OK(b, g) (gen[b] == g && state[b] != FREE)

proctype reader() {
	byte e, h, b, g, n = 0;
	bool ok;

	do
	:: n < SECTIONS ->
		n++;
		ok = true;
		b = NIL;
#ifdef M_HINT_EARLY
		d_step { b = hint_block; g = hint_gen };
		atomic { ok = (state[b] == LIVE && gen[b] == g) };
#endif
		h = era;
		buffer!1, h;
		buffer!0, h;
#ifdef M_HINT_EARLY
		goto hold;
#endif
		if
#ifdef ROOT
		:: true ->	/* through the structure */
			do
			:: d_step { b = root; g = gen[root] };
				e = era;
				if
				:: e == h -> break
				:: else ->
#ifndef M_NO_RAISE
					h = e;
					buffer!1, h;
#else
					break;
#endif
#ifdef M_NO_RELOAD
					break
#endif
				fi
			od
#endif
#ifdef HINT
		:: true ->	/* through a hint */
			do
			:: d_step { b = hint_block; g = hint_gen };
#ifdef M_HINT_UNSETTLED
				ok = (state[b] == LIVE && gen[b] == g);
#endif
				e = era;
				if
				:: e == h -> break
				:: else ->
					h = e;
					buffer!1, h;
#ifdef M_HINT_UNSETTLED
					break
#endif
				fi
			od;
#ifndef M_HINT_UNSETTLED
#ifdef M_NO_GENERATION
			ok = (state[b] == LIVE)
#else
			ok = (state[b] == LIVE && gen[b] == g)
#endif
#endif
#endif
		fi;
hold:		if
		:: ok ->
			assert(HELD_OK(b, g));
			if
#ifdef ENTRY
			:: entry_block == NIL -> d_step { entry_block = b; entry_gen = g; entry_tag = E }
#endif
			:: true
			fi;
			assert(HELD_OK(b, g))
		:: else
		fi;
		buffer!0, IDLE;
		d_step { b = 0; g = 0; e = 0; h = 0 }
	:: else -> break
	od;
	reader_done = true
}

proctype writer() {
	byte new, old, r, n = 0;

	do
	:: n < SWAPS ->
		n++;
		atomic {
			if
			:: state[0] == FREE -> new = 0
			:: state[1] == FREE -> new = 1
			:: state[2] == FREE -> new = 2
			:: else -> goto out
			fi;
			state[new] = PRIVATE;
			retired[new] = 0
		};
		birth[new] = era;
#ifdef M_RETIRE_FIRST
		r = era;
#endif
		d_step { old = root; root = new };
#ifdef M_RETIRE_EARLY
		r = era;
#endif
		state[new] = LIVE;
#ifdef HINT
		if		/* hints are lossy: an old one may stay */
		:: d_step { hint_block = new; hint_gen = gen[new] }
		:: true
		fi;
#endif
		state[old] = RETIRED;
#ifndef M_RETIRE_FIRST
#ifndef M_RETIRE_EARLY
		r = era;
#endif
#endif
		d_step { retired[old] = r; r = 0; old = 0; new = 0 }
	:: else -> break
	od;
out:	writer_done = true
}

proctype sweeper() {
	byte b;

end:	do
	:: atomic {
		(state[0] == RETIRED && retired[0] != 0 && retired[0] < set_era &&
		 (set_low == IDLE || retired[0] < set_low || birth[0] > set_high)) -> b = 0; state[b] = FREE; gen[b]++ }
	:: atomic {
		(state[1] == RETIRED && retired[1] != 0 && retired[1] < set_era &&
		 (set_low == IDLE || retired[1] < set_low || birth[1] > set_high)) -> b = 1; state[b] = FREE; gen[b]++; b = 0 }
	:: atomic {
		(state[2] == RETIRED && retired[2] != 0 && retired[2] < set_era &&
		 (set_low == IDLE || retired[2] < set_low || birth[2] > set_high)) -> b = 2; state[b] = FREE; gen[b]++; b = 0 }
	od
}

inline membarrier() {
	d_step {
		do
		:: nempty(buffer) ->
			buffer?w, v;
			apply(w, v)
		:: empty(buffer) -> break
		od;
		w = 0; v = 0
	}
}

inline scan() {
	if
	:: known ->
		low = slot_low;
		if
		:: low != IDLE -> high = slot_high
		:: else
		fi
#ifdef M_UNKNOWN_IDLE
	:: else -> low = IDLE
#else
	:: else -> d_step { low = 1; high = s }
#endif
	fi
}

/* The daemon may die here; its successor knows nothing of the round, and of a read-only reader's slot. */
#if CRASHES
#define MAY_DIE \
	if \
	:: crashes < CRASHES -> crashes++; goto again \
	:: true \
	fi
#else
#define MAY_DIE skip
#endif

inline settle() {
	e = E;
	E = e + 1;
	MAY_DIE;
	if
	:: entry_block != NIL && entry_tag <= e ->
		assert(HELD_OK(entry_block, entry_gen));
		entry_block = NIL
	:: else
	fi
}

proctype keeper() {
	byte s, low, high, e, v, n = 0, crashes = 0;
	bit w;

	goto work;
again:	skip;
#ifdef READONLY
	known = false;
#endif
#ifdef M_RESUME
	goto announce;
#endif
	d_step { low = 0; high = 0; s = 0; e = 0; w = 0; v = 0 };
work:	do
	:: n < ROUNDS ->
		n++;
#ifdef M_EPOCH_FIRST
		settle();
#endif
#ifdef M_SCAN_FIRST
		membarrier();
		scan();
#endif
		s = era + 1;
		era = s;
		MAY_DIE;
#ifndef M_SCAN_FIRST
#ifndef M_NO_BARRIER
#ifndef M_BARRIER_LAST
		membarrier();
#endif
#endif
		scan();
		MAY_DIE;
#ifdef M_BARRIER_LAST
		membarrier();
#endif
#endif
#ifdef M_OLD_BOUND
		if
		:: crashes > 0 -> goto announce
		:: else
		fi;
#endif
#ifndef M_EPOCH_FIRST
		settle();
#endif
		MAY_DIE;
announce:	skip;
		d_step { set_era = s; set_low = low; set_high = high; high = 0; low = 0; s = 0; e = 0 }
	:: else -> break
	od;
	/* what is left in the ring is settled by the next rounds */
	atomic { reader_done -> crashes = CRASHES };
	settle()
}

#ifdef READONLY
proctype connection() {
end:	do
	:: atomic { !known -> known = true }
	od
}
#endif

init {
	atomic {
#ifdef READONLY
		run connection();
#endif
		state[0] = LIVE;
		birth[0] = 1;
		run drain();
		run reader();
		run writer();
		run sweeper();
		run keeper()
	}
}
