/*
 * alloc: one page of blocks, with owners that die at any instruction (design: allocation; shm/alloc.c, sweep.c, reap.c).
 *
 * The headers FREE / PRIVATE / LIVE / RETIRED are the truth. `free` belongs to the page's owner, who holds some of its bits in its private
 * hand; anybody may set a bit of `limbo`. Thread 1 owns the page: allocates, links, gives blocks back, lets the page go. Thread 2
 * unlinks and retires, and may take the page when nobody owns it. Both may be killed before any step (`unless`), and lose what
 * they had in hand. The keeper reaps the dead and sweeps the page while it has no owner. Grace periods are not modelled: a sweeper may free
 * what is RETIRED at once, which is harder.
 *
 * Asserted: only FREE blocks are handed out, by the owner; only unreachable blocks are freed; when all is quiet every FREE block has its
 * free bit and no other has, every RETIRED one its limbo bit, and none is PRIVATE or unreachable but LIVE.
 *
 * @short -DALLOCS=2 -DRETIRES=2 -DKILL1 -DKILL2
 * @full -DALLOCS=3 -DRETIRES=2 -DKILL1 -DKILL2
 * @mutant M_BIT_FIRST     the limbo bit is set before the header is RETIRED
 * @mutant M_SWEEP_LATE    the sweeper takes the limbo bits away after it read the headers
 * @mutant M_NO_MOVING  a retirer killed between header and bit is not looked after
 * @mutant M_NO_NOTE    a block unlinked by a dead thread and not retired is not looked after
 * @mutant M_NO_REBUILD       the reaper lets the page go as it is
 * @mutant M_NOT_ASKED        the reaper retires PRIVATE blocks without asking whether they are linked
 * @mutant M_NO_HELP       who unlinks a PRIVATE block does not make it LIVE
 * @mutant M_HELP_LATE  makes it LIVE after the unlink (killed between, nobody retires it)
 * @mutant M_GO_EARLY      the owner lets the page go, then puts its hand back
 * @mutant M_REBUILD_LATE     the reaper lets the page go, then rebuilds its bits
 */
#define BLOCKS 2
#define FREE 0
#define PRIVATE 1
#define LIVE 2
#define RETIRED 3
#define BIT(b) (1 << (b))

byte state[BLOCKS], gen[BLOCKS], whose[BLOCKS];
bool linked[BLOCKS];
byte free = 3, limbo = 0, owner = 1;
/* the slots' words that a reaper reads; block + 1, 0 none */
byte moving[3], note[3], note_gen[3];
bool killed[3], dead[3], reaped[3], left[3];

inline help_live(b, g) {
	atomic {
		if
		:: state[b] == PRIVATE && gen[b] == g -> state[b] = LIVE
		:: else
		fi
	}
}

inline retire(me, b, g) {
#ifdef M_HELP_LATE
	help_live(b, g);
#endif
	moving[me] = b + 1;
#ifdef M_BIT_FIRST
	d_step { limbo = limbo | BIT(b) };
#endif
	atomic {
		if
		:: state[b] == LIVE && gen[b] == g -> state[b] = RETIRED; ok = true
		:: else -> ok = false
		fi
	};
	if
#ifndef M_BIT_FIRST
	:: ok -> d_step { limbo = limbo | BIT(b); ok = false }
#endif
	:: else
	fi
}

/* the owner of the page */
inline sweep() {
#ifdef M_SWEEP_LATE
	taken = limbo;
#else
	d_step { taken = limbo; limbo = 0 };
#endif
	b = 0;
	do
	:: b < BLOCKS ->
		if
		:: taken & BIT(b) ->
			if
			:: state[b] == RETIRED ->
				d_step {
					assert(!linked[b]);
					state[b] = FREE;
					gen[b]++
				};
				d_step { free = free | BIT(b) }
			:: else		/* set too often */
			fi
		:: else
		fi;
		b++
	:: else -> break
	od;
#ifdef M_SWEEP_LATE
	skip; d_step { limbo = limbo & (3 - taken) };
#endif
	taken = 0; b = 0
}

inline allocate(me) {
	d_step {
		b = (hand & 1 -> 0 : 1);
		hand = hand & (3 - BIT(b));
		assert(state[b] == FREE && !linked[b]);
		assert(owner == me);
		whose[b] = me
	};
	d_step { state[b] = PRIVATE; note[me] = b + 1; note_gen[me] = gen[b] }
}

proctype allocator() {
	byte hand = 0, b, taken, x, n = 0;

	{
		do
		:: n < ALLOCS ->
			if
			:: hand == 0 -> d_step { hand = free; free = 0 }
			:: else
			fi;
			if
			:: hand == 0 && limbo != 0 -> sweep(); d_step { hand = free; free = 0 }
			:: else
			fi;
			if
			:: hand == 0 -> n = ALLOCS
			:: else ->
				n++;
				allocate(1);
				if
				:: linked[b] = true;	/* the CAS that links it */
					atomic {
						if
						:: state[b] == PRIVATE && gen[b] == note_gen[1] -> state[b] = LIVE
						:: else
						fi
					}
				:: d_step { state[b] = FREE; gen[b]++; hand = hand | BIT(b) }	/* cancelled */
				fi;
				note[1] = 0
			fi
		:: else -> break
		od;
#ifdef M_GO_EARLY
		owner = 0;
		x = free;
		free = x | hand;
#else
		x = free;
		free = x | hand;
		owner = 0;
#endif
		left[1] = true
	} unless { killed[1] };
	if
	:: !left[1] -> dead[1] = true
	:: else
	fi
}

proctype retirer() {
	byte b, g, x, hand, taken, n = 0;
	bool ok = false;

	{
		do
		:: n < RETIRES ->
			n++;
			if
			:: atomic { linked[0] -> b = 0 }
			:: atomic { linked[1] -> b = 1 }
			:: left[1] || dead[1] -> goto page
			fi;
			d_step { g = gen[b]; note_gen[2] = g };
			note[2] = b + 1;
#ifndef M_NO_HELP
#ifndef M_HELP_LATE
			help_live(b, g);
#endif
#endif
			atomic {
				if
				:: linked[b] && gen[b] == g -> linked[b] = false; ok = true
				:: else
				fi
			};
			if
			:: ok -> retire(2, b, g)
			:: else
			fi;
			note[2] = 0;
page:			if		/* an ownerless page may be taken */
			:: atomic { owner == 0 -> owner = 2 };
				d_step { hand = free; free = 0 };
				if
				:: hand ->
					d_step {
						b = (hand & 1 -> 0 : 1);
						hand = hand & (3 - BIT(b));
						assert(state[b] == FREE && !linked[b]);
						whose[b] = 2;
						state[b] = PRIVATE
					};
					d_step { state[b] = FREE; gen[b]++; hand = hand | BIT(b) }
				:: else
				fi;
				x = free;
				free = x | hand;
				hand = 0;
				owner = 0
			:: true
			fi
		:: else -> break
		od;
		left[2] = true
	} unless { killed[2] };
	if
	:: !left[2] -> dead[2] = true
	:: else
	fi
}

inline reap(d) {
	/* 1: a noted block that is LIVE and not reachable was unlinked, not retired */
#ifndef M_NO_NOTE
	if
	:: note[d] && state[note[d] - 1] == LIVE && gen[note[d] - 1] == note_gen[d] && !linked[note[d] - 1] ->
		b = note[d] - 1;
		g = note_gen[d];
		retire(0, b, g)
	:: else
	fi;
#endif
	/* 2: RETIRED without its bit */
#ifndef M_NO_MOVING
	if
	:: moving[d] && state[moving[d] - 1] == RETIRED -> d_step { limbo = limbo | BIT(moving[d] - 1) }
	:: else
	fi;
#endif
	/* 3: the page it owned */
	if
	:: owner == d ->
#ifdef M_REBUILD_LATE
		owner = 0;
#endif
		b = 0;
		do
		:: b < BLOCKS ->
			if
			:: state[b] == PRIVATE && whose[b] == d ->
				g = gen[b];
#ifndef M_NOT_ASKED
				if
				:: linked[b] ->
					atomic {
						if
						:: state[b] == PRIVATE && gen[b] == g -> state[b] = LIVE
						:: else
						fi
					}
				:: else ->
#endif
					atomic {
						if
						:: state[b] == PRIVATE && gen[b] == g -> state[b] = RETIRED; ok = true
						:: else
						fi
					};
					if
					:: ok -> d_step { limbo = limbo | BIT(b); ok = false }
					:: else
					fi
#ifndef M_NOT_ASKED
				fi
#endif
			:: else
			fi;
			b++
		:: else -> break
		od;
#ifndef M_NO_REBUILD
		x = 0; b = 0;
		do
		:: b < BLOCKS ->
			if
			:: state[b] == FREE -> x = x | BIT(b)
			:: state[b] == RETIRED -> d_step { limbo = limbo | BIT(b) }
			:: else
			fi;
			b++
		:: else -> break
		od;
		free = x;
		x = 0;
#endif
#ifndef M_REBUILD_LATE
		owner = 0
#endif
	:: else
	fi;
	b = 0; g = 0; reaped[d] = true
}

proctype keeper() {
	byte b, g, x, taken, n = 0;
	bool ok = false;

	do
	:: dead[1] && !reaped[1] -> reap(1)
	:: dead[2] && !reaped[2] -> reap(2)
	:: n < 1 && owner == 0 && limbo != 0 ->
		n++;
		atomic {
			if
			:: owner == 0 -> owner = 3
			:: else
			fi
		};
		if
		:: owner == 3 -> sweep(); owner = 0
		:: else
		fi
	:: (left[1] || reaped[1]) && (left[2] || reaped[2]) -> break
	od;
	skip;
	d_step {
		assert(owner == 0);
		b = 0;
		do
		:: b < BLOCKS ->
			assert((state[b] == FREE) == ((free & BIT(b)) != 0));
			assert(state[b] != RETIRED || (limbo & BIT(b)));
			assert(state[b] != PRIVATE);
			assert(state[b] != LIVE || linked[b]);
			b++
		:: else -> break
		od
	}
}

proctype killer(byte who) {
	killed[who] = true
}

init {
	atomic {
		if		/* limbo bits may be set too often */
		:: limbo = 3
		:: limbo = 0
		fi;
		run allocator();
		run retirer();
		run keeper();
#ifdef KILL1
		run killer(1);
#endif
#ifdef KILL2
		run killer(2);
#endif
	}
}
