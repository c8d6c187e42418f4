/*
 * leaf: the lowest level of the block skiplist (design: index). A cell's head is one word: LIVE(block), SEALED(block) or
 * GONE; a block is immutable, so the model keeps block and word as one tuple {status, high, right, entries} and a CAS compares
 * all of it. Entries name key cells (incarnation 1..3 of a key), so that a key that died and came back is told apart.
 *
 * Inserters rebuild and CAS, splitting full blocks; mergers seal a cell and merge it into its left neighbour; a remover
 * takes out a dead key cell; readers start from a hint that may name any cell ever used. Whoever must write and meets SEALED helps
 * the merge first (also that of a sealed left neighbour, recursively: the leftmost cell is never sealed, so it ends).
 *
 * A reader trusts a sealed block iff it came to it over right links from a cell that it saw LIVE in this same operation:
 * the sealed cell was then linked, and its block current, at some moment of the operation. (A hint may lead to a cell that was
 * merged, and whose keys were added to elsewhere, before the operation began.)
 *
 * Asserted: a key present throughout is found; a key inserted before a lookup began is found; at the end the leaves partition the
 * keys, nothing inserted is lost, and each merged cell was retired once.
 *
 * @short -DMERGE1 -DMERGE2 -DINSERT1
 * @extra -DMERGE2 -DREMOVE3
 * @extra -DMERGE1 -DINSERT1 -DINSERT0
 * @full -DMERGE2 -DINSERT1 -DREMOVE3
 * @mutant M_TRUST_SEALED        readers trust a sealed block that a hint led to
 * @mutant M_GONE_NOT_FINAL      a merged cell goes back to LIVE
 * @mutant M_STALE_HIGH -DMERGE2 -DINSERT1 -DREMOVE3  the high key is checked in another block than the CAS expects
 * @mutant M_NO_SEAL             merged without being sealed first
 * @mutant M_SEALED_LEFT         merged into a left neighbour that is sealed itself
 * @mutant M_RETIRE_BOTH -DMERGE1 -DINSERT1          every helper retires, not only the winner of GONE
 * @mutant M_REMOVE_KEY -DMERGE2 -DINSERT1 -DREMOVE3  the remover takes out the key, whatever cell it names
 * @mutant M_REVIVE -DMERGE2 -DINSERT1 -DREMOVE3      an inserter revives a dead key cell
 */
#define KEYS 4
#define CELLS 5
#define NIL 255
#define UNUSED 0
#define LIVE 1
#define SEALED 2
#define GONE 3

byte status[CELLS], high[CELLS], right[CELLS], entries[CELLS];
byte low[CELLS];		/* constant for a cell's life: cells split and merge at their right end */
byte used = 3;
byte dead[KEYS];		/* bit i: incarnation i of the key is DEAD */
byte born[KEYS];		/* incarnations given out */
byte retired[CELLS];
byte linked = 7;		/* a hint may name a cell only after it was linked */
bool inserted[KEYS];		/* ghost: an insert that returned */
byte running = 0;

#define ENTRY(e, k) (((e) >> (2 * (k))) & 3)
#define WITHOUT(e, k) ((e) & (255 - (3 << (2 * (k)))))
#define WITH(e, k, i) (WITHOUT(e, k) | ((i) << (2 * (k))))
#define BELOW(e, k) ((e) & ((1 << (2 * (k))) - 1))
#define IS_DEAD(k, i) ((dead[k] >> (i)) & 1)

#define HEAD_IS(c, s, h, r, e) (status[c] == s && high[c] == h && right[c] == r && entries[c] == e)

inline load(c) { d_step { st = status[c]; hi = high[c]; rt = right[c]; en = entries[c] } }

/* merge the sealed cell `sealed` into its left neighbour; to the end, whoever else is at it */
inline help(sealed) {
	t = sealed;
	do
	:: load(t);
		if
#ifndef M_NO_SEAL
		:: st != SEALED ->
#else
		:: st == GONE ->
#endif
			if
			:: t == sealed -> break
			:: else -> t = sealed
			fi
		:: else ->
			d_step { m_hi = hi; m_rt = rt; m_en = en; m_st = st; p = 0 };
			do
			:: load(p);
				if
				:: st == GONE -> p = 0
				:: st != GONE && hi > low[t] -> break		/* merged already */
				:: st == LIVE && hi <= low[t] && rt == t ->
					atomic {
						if
						:: HEAD_IS(p, LIVE, hi, rt, en) ->
							high[p] = m_hi; right[p] = m_rt; entries[p] = en | m_en;
							break
						:: else -> p = 0
						fi
					}
#ifdef M_SEALED_LEFT
				:: st == SEALED && hi <= low[t] && rt == t ->
					atomic {
						if
						:: HEAD_IS(p, SEALED, hi, rt, en) ->
							high[p] = m_hi; right[p] = m_rt; entries[p] = en | m_en;
							break
						:: else -> p = 0
						fi
					}
#else
				:: st == SEALED && hi <= low[t] && rt == t ->
					d_step { t = p; m_hi = hi; m_rt = rt; m_en = en; m_st = st; p = 0 }
#endif
				:: st != GONE && hi <= low[t] && rt != t -> p = rt
				fi
			od;
			atomic {
#ifdef M_RETIRE_BOTH
				retired[t]++;
				assert(retired[t] == 1);
#endif
				if
#ifdef M_NO_SEAL
				:: status[t] == m_st ->
#else
				:: HEAD_IS(t, SEALED, m_hi, m_rt, m_en) ->
#endif
#ifdef M_GONE_NOT_FINAL
					status[t] = LIVE;
#else
					status[t] = GONE; high[t] = 0; right[t] = NIL; entries[t] = 0;
#endif
#ifndef M_RETIRE_BOTH
					retired[t]++;
					assert(retired[t] == 1)
#endif
				:: else
				fi
			};
#ifdef M_GONE_NOT_FINAL
			break
#endif
		fi
	od;
	skip; d_step { m_hi = 0; m_rt = 0; m_en = 0; m_st = 0; p = 0; t = 0 }
}

/* to the LIVE leaf that covers k: leaves c and its head */
inline find_to_write(k) {
	do
	:: load(c);
		if
		:: st == GONE || low[c] > k -> c = 0
		:: st == SEALED && low[c] <= k -> help(c); c = 0
		:: st == LIVE && low[c] <= k && hi > k -> break
		:: st == LIVE && low[c] <= k && hi <= k -> c = rt
		fi
	od
}

#define LOCALS byte c = 0, st, hi, rt, en, t, p, m_hi, m_rt, m_en, m_st

proctype inserter(byte k) {
	LOCALS;
	byte fresh = 0, new = NIL, mid, n;

	if
	:: k != 3 || dead[3] -> skip
	fi;
	if
	:: c = 0
	:: c = 1
	:: c = 2
	fi;
	do
	:: find_to_write(k);
		if
		:: ENTRY(en, k) != 0 && !IS_DEAD(k, ENTRY(en, k)) -> break
#ifdef M_REVIVE
		:: ENTRY(en, k) != 0 && IS_DEAD(k, ENTRY(en, k)) ->
			d_step { dead[k] = dead[k] & (255 - (1 << ENTRY(en, k))) };
			break
#endif
		:: else ->
			d_step {
				if
				:: fresh == 0 -> born[k]++; fresh = born[k]
				:: else
				fi;
				n = 0; mid = 0;
				do
				:: mid < KEYS -> n = n + (ENTRY(en, mid) != 0 -> 1 : 0); mid++
				:: else -> break
				od;
				/* split before the middle key; one of the halves may hold only the new one */
				mid = (n >= 2 -> (low[c] + hi + 1) / 2 : NIL)
			};
#ifdef M_STALE_HIGH
			load(c);
			if
			:: st != LIVE -> goto retry
			:: else
			fi;
#endif
			if
			:: n < 2 || mid == NIL || mid >= hi || mid <= low[c] ->
				atomic {
					if
					:: HEAD_IS(c, LIVE, hi, rt, en) -> entries[c] = WITH(en, k, fresh); break
					:: else
					fi
				}
			:: else ->
				/* the new cell is private until the CAS */
				d_step {
					if
					:: new == NIL -> new = used; used++
					:: else
					fi;
					assert(new < CELLS);
					status[new] = LIVE; low[new] = mid; high[new] = hi; right[new] = rt;
					entries[new] = WITH(en, k, fresh) & (255 - ((1 << (2 * mid)) - 1))
				};
				atomic {
					if
					:: HEAD_IS(c, LIVE, hi, rt, en) ->
						high[c] = mid; right[c] = new;
						entries[c] = BELOW(WITH(en, k, fresh), mid);
						linked = linked | (1 << new);
						break
					:: else
					fi
				}
			fi
		fi;
retry:		skip; d_step { n = 0; mid = 0 }
	od;
	skip; d_step { inserted[k] = true; running--; c = 0; st = 0; hi = 0; rt = 0; en = 0; n = 0; mid = 0; fresh = 0; new = 0 }
}

proctype merger(byte r) {
	LOCALS;

	load(r);
	if
	:: st == LIVE ->
#ifndef M_NO_SEAL
		atomic {
			if
			:: HEAD_IS(r, LIVE, hi, rt, en) -> status[r] = SEALED
			:: else -> goto out
			fi
		};
#endif
		help(r)
	:: else
	fi;
out:	skip; d_step { running--; c = 0; st = 0; hi = 0; rt = 0; en = 0 }
}

proctype remover(byte k) {
	LOCALS;

	dead[k] = dead[k] | 2;	/* incarnation 1, there from the start */
	do
	:: find_to_write(k);
		if
#ifdef M_REMOVE_KEY
		:: ENTRY(en, k) == 0 -> break
#else
		:: ENTRY(en, k) != 1 -> break
#endif
		:: else ->
			atomic {
				if
				:: HEAD_IS(c, LIVE, hi, rt, en) -> entries[c] = WITHOUT(en, k); break
				:: else
				fi
			}
		fi
	od;
	skip; d_step { running--; c = 0; st = 0; hi = 0; rt = 0; en = 0 }
}

proctype reader() {
	byte c, st, hi, rt, en, k, found;
	bool must, walked = false;

	atomic {
		if
		:: k = 2; must = true
		:: inserted[0] -> k = 0; must = true
		:: inserted[1] -> k = 1; must = true
		:: inserted[3] -> k = 3; must = true
		fi;
		if
		:: c = 0
		:: c = 1
		:: c = 2
		:: (linked >> 3) & 1 -> c = 3
		:: (linked >> 4) & 1 -> c = 4
		fi
	};
	do
	:: load(c);
		if
		:: st == GONE || st == UNUSED || low[c] > k -> c = 0; walked = false
		:: st == LIVE && low[c] <= k && hi > k -> break
		:: st == LIVE && low[c] <= k && hi <= k -> walked = true; c = rt
		:: st == SEALED && low[c] <= k && hi <= k -> c = rt
		:: st == SEALED && low[c] <= k && hi > k ->
#ifdef M_TRUST_SEALED
			break
#else
			if
			:: !walked -> c = 0		/* came by a hint: from the left */
			:: walked -> break
			fi
#endif
		fi
	od;
	found = ENTRY(en, k);
	assert(!must || (found != 0 && !(k != 3 && IS_DEAD(k, found))));
	assert(!must || k != 3 || found > 1);
	d_step { running--; c = 0; st = 0; hi = 0; rt = 0; en = 0; found = 0; walked = false }
}

proctype last_look() {
	byte c = 0, seen = 0;

	atomic {
		running == 0 -> skip;
		do
		:: c != NIL ->
			assert(status[c] == LIVE && low[c] < high[c]);
			assert((entries[c] & ((1 << (2 * low[c])) - 1)) == 0 && BELOW(entries[c], high[c]) == entries[c]);
			assert(right[c] == NIL || low[right[c]] == high[c]);
			assert(right[c] != NIL || high[c] == KEYS);
			seen = seen | entries[c];
			c = right[c]
		:: else -> break
		od;
		assert(ENTRY(seen, 2) == 1);
		assert(!inserted[0] || ENTRY(seen, 0) != 0);
		assert(!inserted[1] || ENTRY(seen, 1) != 0);
		assert(!inserted[3] || (ENTRY(seen, 3) > 1 && !IS_DEAD(3, ENTRY(seen, 3))));
		assert(!(status[1] == GONE && retired[1] != 1) && !(status[2] == GONE && retired[2] != 1))
	}
}

init {
	atomic {
		/* [0,1) {}, [1,3) {2}, [3,4) {3} */
		status[0] = LIVE; low[0] = 0; high[0] = 1; right[0] = 1; entries[0] = 0;
		status[1] = LIVE; low[1] = 1; high[1] = 3; right[1] = 2; entries[1] = WITH(0, 2, 1);
		status[2] = LIVE; low[2] = 3; high[2] = 4; right[2] = NIL; entries[2] = WITH(0, 3, 1);
		born[3] = 1; born[2] = 1;
#ifdef MERGE1
		running++; run merger(1);
#endif
#ifdef MERGE2
		running++; run merger(2);
#endif
#ifdef INSERT1
		running++; run inserter(1);
#endif
#ifdef INSERT0
		running++; run inserter(0);
#endif
#ifdef REMOVE3
		running++; run remover(3);
		running++; run inserter(3);
#endif
		running++; run reader();
		run last_look()
	}
}
