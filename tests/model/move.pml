/*
 * move: a key cell is replaced by a copy of itself (engine/move.c, engine/gather.c).
 *
 * One key. Its cells are numbered in the order of their making; cell 0 is the first. A head is one word: the number of writes that it
 * holds (so a lost write shows as a number that is too small), and MOVING. The leaf is one word: which cell, and a count that stands
 * for every other change of that leaf, so that somebody's CAS fails for another's sake. Readers and writers begin with a stale
 * hint: the leaf's cell, or any that is not retired yet when they look. Nobody has to go on: a mover that stops anywhere is among the interleavings.
 *
 * Asserted: every write adds to the newest one; a read returns a number that was the newest between its beginning and its end; a cell
 * is retired once, and never while it stands in the leaf; whoever completes, the leaf names a cell that is not MOVING or can be moved.
 *
 * @short -DWRITES=2 -DMOVERS=1
 * @full -DWRITES=1 -DMOVERS=2
 * @mutant M_NO_FREEZE        the cell is copied while writers may still go on with it
 * @mutant M_COPY_FIRST       frozen whatever its head is by then, not what was copied
 * @mutant M_THAW             a writer takes MOVING away instead of completing the move
 * @mutant M_TRUST_FROZEN     a reader believes a MOVING head without a look at the leaf
 * @mutant M_LEAF_STORE       the leaf is stored, not compared
 * @mutant M_RETIRE_LOSER     who lost the leaf retires the cell as well
 */
#define CELLS 8

byte head[CELLS];
bool moving[CELLS], retired[CELLS];
byte leaf = 0, change = 0;	/* one word */
byte cells = 1;
byte written = 0;		/* writes that were committed */

inline retire(k) {
	assert(!retired[k] && leaf != k);
	retired[k] = true
}

/* Copies MOVING cell k and puts the copy into its place, unless somebody else did. l, lc, c: scratch. */
inline complete(k) {
	do
	:: true ->
		atomic { l = leaf; lc = change };
		if
		:: l != k -> break
		:: else
		fi;
		atomic { c = cells; cells++; head[c] = head[k] };
#ifdef M_LEAF_STORE
		atomic { leaf = c; change++ };
		atomic { if :: !retired[k] && leaf != k -> retire(k) :: else fi };
		break
#else
		atomic {
			if
			:: leaf == k && change == lc -> leaf = c; change++; l = CELLS
			:: else
			fi
		};
		if
		:: l == CELLS -> atomic { retire(k) }; break
		:: else
#ifdef M_RETIRE_LOSER
			-> atomic { retired[k] = true; assert(leaf != k) }
#endif
		fi
#endif
	od
}

/* A cell to begin with: what a hint may name. */
inline hint(k) {
	if
	:: k = leaf
	:: k = 0
	fi;
	if
	:: retired[k] -> k = leaf
	:: else
	fi
}

proctype mover() {
	byte k, h, l, lc, c;
	bool ok = false;

	atomic { k = leaf; lc = change };
	atomic { h = head[k]; ok = !moving[k] };
	if
	:: ok ->
#ifdef M_COPY_FIRST
		atomic { c = cells; cells++; head[c] = h };
		moving[k] = true;
#elif defined(M_NO_FREEZE)
		atomic { c = cells; cells++; head[c] = h };
#else
		atomic {
			if
			:: head[k] == h && !moving[k] -> moving[k] = true
			:: else -> ok = false
			fi
		};
		if
		:: ok -> atomic { c = cells; cells++; head[c] = head[k] }
		:: else
		fi;
#endif
		if
		:: ok ->
			/* as the leaf was when its cells were looked at */
			atomic {
				if
				:: leaf == k && change == lc -> leaf = c; change++; l = CELLS
				:: else -> l = 0
				fi
			};
			if
			:: l == CELLS -> atomic { retire(k) }
			:: else -> complete(k)
			fi
		:: else
		fi
	:: else -> complete(k)
	fi
}

proctype writer() {
	byte k, h, l, lc, c, n = 0;
	bool m;

	hint(k);
	do
	:: n < WRITES ->
		atomic { h = head[k]; m = moving[k] };
		if
		:: m ->
#ifdef M_THAW
			moving[k] = false
#else
			complete(k); k = leaf
#endif
		:: else ->
			atomic {
				if
				:: head[k] == h && !moving[k] ->
					head[k] = h + 1;
					written++;
					assert(head[k] == written);	/* on top of all others */
					n++
				:: else
				fi
			}
		fi
	:: else -> break
	od
}

proctype reader() {
	byte k, h, start;
	bool m;

	start = written;
	hint(k);
	atomic { h = head[k]; m = moving[k] };
#ifndef M_TRUST_FROZEN
	if
	:: m -> k = leaf; h = head[k]	/* MOVING or not */
	:: else
	fi;
#endif
	assert(start <= h && h <= written)
}

/* Other keys of the leaf come and go. */
proctype others() {
	atomic { change++ }
}

init {
	byte i;

	atomic {
		for (i : 1 .. MOVERS) { run mover() }
		run writer();
		run reader();
		run others()
	}
}
