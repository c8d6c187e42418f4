/*
 * claim: opening a slot's log ring while the daemon bumps E and closes rings (design: write path; shm/slot.c, engine/settle.c).
 *
 * A FREE slot's tail stands at epoch INFINITE, which counts as closed. Claimant: owner FREE -> CLAIMED, raise slots_high, fence, open the
 * tail at the E it reads until E stood still; then publish: load tail, read E, entry, CAS tail. Leaving only marks the slot; the
 * daemon makes the tail INFINITE and the slot FREE once its ring is drained. Daemon: E: e -> e+1, fence, read slots_high, raise each tail that is not
 * INFINITE to e+1, then settle. All words here are changed by locked instructions, so the search is sequentially consistent; a
 * missing fence shows as the two accesses in the other order.
 *
 * Why a claim that the daemon does not see is harmless: its tail was opened after the daemon looked, so an E read after that is the new
 * one. It is the order open, THEN read E, that carries it: once more in the opening loop, or by the publish.
 *
 * Asserted: no entry appears with a tag that was closed before; every entry is settled exactly once.
 *
 * @short -DCLAIMS=2 -DROUNDS=2
 * @full -DCLAIMS=3 -DROUNDS=1
 * @mutant M_OLD_E         opened once, at an E read before, and the first tag is that E
 * @mutant M_HIGH_LATE     slots_high raised after the ring is open and used
 * @mutant M_LOOK_FIRST    the daemon reads slots_high before it bumps E
 * @mutant M_FREE_EARLY    a slot is freed before its ring is drained
 */
#define SLOTS 2
#define CAP 4
#define INFINITE 99
#define FREE 0
#define CLAIMED 1
#define LEAVING 2

byte E = 1, closed = 0, high = 0, finished = 0;
byte owner[SLOTS], tail_epoch[SLOTS], tail_index[SLOTS], consumed[SLOTS];
byte entry_tag[SLOTS * CAP], entry_id[SLOTS * CAP];
byte settled[CLAIMS];

#define AT(s, i) ((s) * CAP + (i))

inline raise_high(count) {
	d_step {
		if
		:: high < count -> high = count
		:: else
		fi
	}
}

proctype claimant(byte me) {
	byte s, e, t, te, ti;
	bool early;

	atomic {
		if
		:: owner[0] == FREE -> s = 0
		:: owner[1] == FREE -> s = 1
		:: owner[0] == FREE && owner[1] == FREE -> s = 1
		fi;
		owner[s] = CLAIMED
	};
#ifndef M_HIGH_LATE
	raise_high(s + 1);
#endif
	/* open */
#ifdef M_OLD_E
	e = E;
	d_step { tail_epoch[s] = e };
#else
	do
	:: d_step { te = tail_epoch[s] };
		e = E;
		if
		:: te != INFINITE && te >= e -> break
		:: else ->
			atomic {
				if
				:: tail_epoch[s] == te -> tail_epoch[s] = e
				:: else
				fi
			}
		fi
	od;
#endif
	/* publish */
	do
	:: d_step { te = tail_epoch[s]; ti = tail_index[s] };
#ifdef M_OLD_E
		if
		:: early -> e = E
		:: else -> early = true
		fi;
#else
		e = E;
#endif
		d_step {
			t = (te > e -> te : e);
			entry_tag[AT(s, ti)] = t;
			entry_id[AT(s, ti)] = me
		};
		atomic {
			if
			:: tail_epoch[s] == te && tail_index[s] == ti ->
				assert(t > closed);
				tail_epoch[s] = t;
				tail_index[s] = ti + 1;
				break
			:: else
			fi
		}
	od;
#ifdef M_HIGH_LATE
	skip; raise_high(s + 1);
#endif
	skip; d_step { owner[s] = LEAVING; finished++; s = 0; e = 0; t = 0; te = 0; ti = 0; early = false }
}

proctype keeper() {
	byte e, i, h, n = 0;
	bool last = false;

	do
	:: n < ROUNDS || finished == CLAIMS || owner[0] == LEAVING || owner[1] == LEAVING ->
		d_step { n = (n < ROUNDS -> n + 1 : ROUNDS); last = (finished == CLAIMS && n == ROUNDS) };
#ifdef M_LOOK_FIRST
		h = high;
#endif
		e = E;
		E = e + 1;
#ifndef M_LOOK_FIRST
		h = high;
#endif
		i = 0;
		do
		:: i < h ->
			d_step {
				if
				:: tail_epoch[i] < e + 1 -> tail_epoch[i] = e + 1
				:: else
				fi;
				i++
			}
		:: else -> break
		od;
		closed = e;
		h = high;
		i = 0;
		do
		:: i < h ->
			d_step {
				if
				:: tail_epoch[i] != INFINITE ->
					do
					:: consumed[i] < tail_index[i] && entry_tag[AT(i, consumed[i])] <= e ->
						settled[entry_id[AT(i, consumed[i])]]++;
						assert(settled[entry_id[AT(i, consumed[i])]] == 1);
						consumed[i]++
					:: else -> break
					od
				:: else
				fi;
				i++
			}
		:: else -> break
		od;
		/* free what is left and drained */
		i = 0;
		do
		:: i < SLOTS ->
			if
#ifdef M_FREE_EARLY
			:: owner[i] == LEAVING ->
#else
			:: owner[i] == LEAVING && consumed[i] == tail_index[i] ->
#endif
				tail_epoch[i] = INFINITE;
				owner[i] = FREE
			:: else
			fi;
			i++
		:: else -> break
		od;
		if
		:: last -> break
		:: else
		fi
	od;
	skip;
	d_step {
		i = 0;
		do
		:: i < CLAIMS -> assert(settled[i] == 1); i++
		:: else -> break
		od
	}
}

init {
	byte k = 0;

	atomic {
		tail_epoch[0] = INFINITE;
		tail_epoch[1] = INFINITE;
		do
		:: k < CLAIMS -> run claimant(k); k++
		:: else -> break
		od;
		run keeper()
	}
}
