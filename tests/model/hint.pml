/*
 * hint: a key that dies and comes back, met through the index and through hash hints that may be older than what they name (design: index;
 * engine/hint.c, remove.c, write.c, shm/alloc.c pp_hint_live).
 *
 * Cells are type-stable: freed and used again, for this key or another, with the next generation; generations are few here, so they come
 * around as the eight bits in a hint do. A cell is FREE, PRIVATE, LIVE or RETIRED; its head holds a value, a tombstone, or DEAD, which is
 * final. The leaf names one cell for the key, or none. A hint names {cell, generation} of any moment; it is entered when the cell is LIVE.
 *
 * Reader: hint, then header LIVE and generation, then the key, then the head; without a usable hint, or when the head is DEAD, the leaf.
 * Writer: the same way to a cell, CAS of its head unless DEAD; else links a fresh cell in the leaf in place of nothing or of the dead one, by
 * one CAS, and makes it LIVE. Remover: tombstone -> DEAD, then takes the cell out of the leaf, then retires it (unless a writer has
 * replaced it: then that one retires it). The keeper frees what was retired when every reader and writer that was under way has
 * left (model reclaim), and a stranger puts another key into a free cell.
 *
 * Asserted: a read returns the value that was newest at some moment of it; what is retired is not named by the leaf; each cell is retired
 * once a life; a value is never written where no reader looks.
 *
 * @short -DWRITES=2 -DREMOVES=1
 * @extra -DWRITES=1 -DREMOVES=1 -DSTRANGERS=2
 * @full -DWRITES=1 -DREMOVES=1 -DWRITERS=2
 * @mutant M_NO_KEY -DWRITES=1 -DREMOVES=1 -DSTRANGERS=2  the key of the cell is not compared
 * @mutant M_NOT_LIVE         the header is not looked at
 * @mutant M_BELIEVE_DEAD     a DEAD head, met through a hint, is taken for an absent key
 * @mutant M_REVIVE           a writer puts a version on a DEAD head
 * @mutant M_UNLINK_FIRST     the remover takes the cell out of the leaf, then makes the head DEAD
 * @mutant M_RETIRE_FIRST     the remover retires the cell before it is out of the leaf
 * @mutant M_NO_GRACE         a retired cell is free at once
 * @mutant M_REMOVER_RETIRES  the remover retires the cell, whoever took it out of the leaf
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#define GENERATIONS 2
#define CELLS 2
#ifndef STRANGERS
#define STRANGERS 1
#endif
#define NIL 255
#define FREE 0
#define PRIVATE 1
#define LIVE 2
#define RETIRED 3
#define DEAD 100
#define GONE 0			/* a tombstone */
#define MINE 1
#define OTHER 2

byte state[CELLS], gen[CELLS], key[CELLS], head[CELLS];
byte leaf = NIL;		/* cell of the key */
byte hint_cell = NIL, hint_gen;
byte value = 0;			/* ghost: the newest */
byte seen = 0;			/* ghost: values that were the newest since the read began */
byte inside = 0, waits[CELLS];	/* processes in a section; those that a retired cell waits for */
byte next_value = 1, running = 0;

#define IN(me) (1 << (me))

inline enter(me) { d_step { inside = inside | IN(me) } }
inline leave(me) {
	d_step {
		inside = inside & (255 - IN(me));
		c = 0;
		do
		:: c < CELLS -> waits[c] = waits[c] & (255 - IN(me)); c++
		:: else -> break
		od;
		c = NIL; g = 0; h = 0; s = 0
	}
}

inline retire(x) {
	d_step {
		assert(state[x] != RETIRED && state[x] != FREE);
		state[x] = RETIRED;
#ifdef M_NO_GRACE
		waits[x] = 0
#else
		waits[x] = inside
#endif
	}
}

/* by a hint to c; NIL = none that is usable */
inline by_hint() {
	d_step { c = hint_cell; g = hint_gen };
	if
	:: c == NIL
	:: c != NIL ->
		d_step { s = (state[c] == LIVE && gen[c] == g) };
#ifdef M_NOT_LIVE
		s = 1;
#endif
		if
		:: s == 0 -> c = NIL
#ifndef M_NO_KEY
		:: s == 1 && key[c] != MINE -> c = NIL
		:: s == 1 && key[c] == MINE
#else
		:: s == 1
#endif
		fi
	fi
}

inline becomes(v) { value = v; seen = seen | (1 << v) }

proctype reader() {
	byte c = NIL, g, h, s;

	d_step { inside = inside | IN(0); seen = 1 << value };
	by_hint();
	if
	:: c != NIL -> h = head[c]
	:: else -> h = DEAD
	fi;
#ifdef M_BELIEVE_DEAD
	if
	:: h == DEAD && c != NIL -> h = GONE; goto judged
	:: else
	fi;
#endif
	if
	:: h == DEAD ->
		c = leaf;
		if
		:: c == NIL -> h = GONE
		:: else -> h = head[c]
		fi
	:: else
	fi;
	if
	:: h == DEAD -> h = GONE	/* dead, and not replaced yet when the leaf was looked at */
	:: else
	fi;
judged:	assert((seen >> h) & 1);
	leave(0);
	running--
}

/* The version is committed with the CAS here: what lies between is model chain's. */
proctype writer(byte me) {
	byte c = NIL, g, h, s, v, old, n = 0;
	bool ok;

	do
	:: n < WRITES ->
		n++;
		d_step { v = next_value; next_value++ };
		enter(me);
		by_hint();
again:		if
		:: c == NIL -> c = leaf
		:: else
		fi;
		if
		:: c != NIL -> h = head[c]
		:: else -> h = DEAD
		fi;
		if
#ifndef M_REVIVE
		:: h != DEAD ->
#else
		:: c != NIL ->
#endif
			atomic {
				if
				:: head[c] == h -> head[c] = v; becomes(v); ok = true
				:: else -> ok = false
				fi
			};
			if
			:: ok
			:: else -> goto again
			fi
#ifndef M_REVIVE
		:: h == DEAD ->
#else
		:: c == NIL ->
#endif
			/* a fresh cell, in place of nothing or of a dead one */
			old = leaf;
			if
			:: old != NIL && head[(old == NIL -> 0 : old)] != DEAD -> c = old; goto again
			:: else
			fi;
			atomic {
				if
				:: state[0] == FREE -> c = 0
				:: state[1] == FREE -> c = 1
				:: else -> c = NIL
				fi;
				if
				:: c != NIL -> state[c] = PRIVATE; key[c] = MINE; head[c] = v
				:: else
				fi
			};
			if
			:: c == NIL -> goto spent
			:: else
			fi;
			atomic {
				if
				:: leaf == old -> leaf = c; becomes(v); ok = true
				:: else -> ok = false
				fi
			};
			if
			:: ok ->
				state[c] = LIVE;
				if
				:: old != NIL -> retire(old)
				:: else
				fi;
				if
				:: d_step { hint_cell = c; hint_gen = gen[c] }
				:: true		/* lossy */
				fi
			:: else ->
				d_step { state[c] = FREE; gen[c] = (gen[c] + 1) % GENERATIONS };
				c = NIL;
				goto again
			fi
		fi;
spent:		skip;
		if			/* deletes it again: its tombstone is what the remover is after */
		:: c != NIL && key[(c == NIL -> 0 : c)] == MINE ->
			atomic {
				if
				:: head[c] == v && state[c] == LIVE -> head[c] = GONE; becomes(GONE)
				:: else
				fi
			}
		:: true
		fi;
		leave(me);
		d_step { old = 0; v = 0; ok = false }
	:: else -> break
	od;
	running--
}

proctype remover() {
	byte c = NIL, g, h, s, n = 0;
	bool ok;

	do
	:: n < REMOVES ->
		n++;
		enter(3);
		c = leaf;
		if
		:: c != NIL ->
#ifdef M_UNLINK_FIRST
			if
			:: head[c] == GONE ->
				atomic {
					if
					:: leaf == c -> leaf = NIL; ok = true
					:: else -> ok = false
					fi
				};
				head[c] = DEAD
			:: else -> ok = false
			fi;
#else
			atomic {
				if
				:: head[c] == GONE -> head[c] = DEAD; ok = true
				:: else -> ok = false
				fi
			};
#ifdef M_RETIRE_FIRST
			if
			:: ok -> retire(c)
			:: else
			fi;
#endif
			if
			:: ok ->
				atomic {
					if
					:: leaf == c -> leaf = NIL
					:: else -> ok = false	/* replaced, and retired by who did it */
					fi
				}
			:: else
			fi;
#endif
#ifdef M_REMOVER_RETIRES
			ok = true;
#endif
#ifndef M_RETIRE_FIRST
			if
			:: ok -> retire(c)
			:: else
			fi
#endif
			;
		:: else
		fi;
		leave(3);
		ok = false
	:: else -> break
	od;
	running--
}

/* Frees what nobody can be looking at any more, and lets another key have it. */
proctype keeper() {
	byte x, strangers = 0;

end:	do
	:: atomic { state[0] == RETIRED && waits[0] == 0 -> x = 0; goto free }
	:: atomic { state[1] == RETIRED && waits[1] == 0 -> x = 1; goto free }
	:: atomic { state[0] == LIVE && key[0] == OTHER -> x = 0; state[0] = RETIRED; waits[0] = inside; x = 0 }
	:: atomic { state[1] == LIVE && key[1] == OTHER -> x = 1; state[1] = RETIRED; waits[1] = inside; x = 0 }
	od;
free:	skip;
	d_step {
		assert(leaf != x);
		state[x] = FREE;
		gen[x] = (gen[x] + 1) % GENERATIONS
	};
	if
	:: atomic { strangers < STRANGERS && state[x] == FREE -> strangers++; state[x] = LIVE; key[x] = OTHER; head[x] = 99 }
	:: true -> skip
	fi;
	x = 0;
	goto end
}

proctype last_look() {
	atomic {
		running == 0 -> skip;
		assert(leaf == NIL || state[(leaf == NIL -> 0 : leaf)] == LIVE);
		if
		:: leaf == NIL -> assert(value == GONE)
		:: leaf != NIL && head[leaf] == DEAD -> assert(value == GONE)
		:: leaf != NIL && head[leaf] != DEAD -> assert(value == head[leaf])
		fi
	}
}

init {
	atomic {
		state[0] = LIVE; key[0] = MINE; head[0] = GONE; leaf = 0; hint_cell = 0;
		running = 2 + WRITERS;
		run reader();
		run writer(1);
#if WRITERS > 1
		run writer(2);
#endif
		run remover();
		run keeper();
		run last_look()
	}
}
