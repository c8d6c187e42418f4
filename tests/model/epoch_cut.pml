/*
 * epoch_cut: logged cuts are causally closed and each version is logged exactly once (design: install, publish,
 * commit, settle, durable).
 *
 * Writer i looks at the version of writer i-1; when it is pending it may help it (publish it in its own ring, commit),
 * and when it is committed its own version depends on it. A reaper may abort a pending version at any time. The daemon
 * bumps E, closes the rings, settles, logs, ends the epoch; it may be killed at five points and starts again from what
 * shared memory holds. A stopped or killed writer needs no modelling: every interleaving where it takes no further step is a prefix
 * of one that is searched, and nobody waits for it.
 *
 * Asserted: nothing commits with a tag that is already settled; at every END the logged versions hold their dependencies; at
 * the end each committed version was logged once, each aborted one never.
 *
 * @short -DN=2 -DEPOCHS=2 -DCRASHES=0
 * @extra -DN=2 -DEPOCHS=1 -DCRASHES=2
 * @full -DN=2 -DEPOCHS=2 -DCRASHES=1
 * @full -DN=3 -DEPOCHS=1 -DCRASHES=0
 * @mutant M_EARLY_E          E read before the read that the write depends on
 * @mutant M_BUMP_LATE        E bumped after the rings were closed
 * @mutant M_LOG_ANY          an entry is logged when its version is committed, whoever committed it
 * @mutant M_NO_CLOSE         rings are not closed
 * @mutant M_NO_RETAG         a publish that met a closed ring keeps its tag
 * @mutant M_NO_SETTLE        pending versions of the epoch are left to their owners
 * @mutant M_NO_SKIP -DN=2 -DEPOCHS=1 -DCRASHES=1  a restarted daemon trusts the ring heads, not durable_epoch
 */
#ifndef N
#define N 2
#define EPOCHS 2
#define CRASHES 0
#endif
#define CAP 2			/* a writer publishes at most what it helps and its own */
#define NONE 0
#define PENDING 1
#define COMMITTED 2
#define ABORTED 3

typedef ring_word {
	byte epoch;
	byte index;
	byte head;
	byte version[CAP];
	byte tag[CAP];
};

ring_word ring[N];
byte E = 1;
byte settled = 0;
byte durable = 0;
byte state[N];
byte state_slot[N];
byte state_tag[N];
byte depends[N];		/* version + 1 that this one has seen, 0 none */
byte logged[N];			/* times in ended epochs */
byte logged_tag[N];
byte finished = 0;

/* one CAS on a state word; the caller's ring and tag become the truth */
inline commit(what, slot, with) {
	atomic {
		if
		:: state[what] == PENDING ->
			assert(with > settled);
			state[what] = COMMITTED;
			state_slot[what] = slot;
			state_tag[what] = with
		:: else
		fi
	}
}

/* entry, then one CAS on the tail word; e is the open epoch read after everything the operation depended on */
inline publish(v) {
#ifndef M_EARLY_E
	e = E;
#endif
	do
	:: d_step { t_epoch = ring[i].epoch; t_index = ring[i].index };
#ifdef M_NO_RETAG
		if
		:: tag == 0 -> tag = (t_epoch > e -> t_epoch : e)
		:: else
		fi;
#else
		tag = (t_epoch > e -> t_epoch : e);
#endif
		d_step { ring[i].version[t_index] = v; ring[i].tag[t_index] = tag };
		atomic {
			if
			:: ring[i].epoch == t_epoch && ring[i].index == t_index ->
				ring[i].epoch = (tag > t_epoch -> tag : t_epoch);
				ring[i].index++;
				break
			:: else
			fi
		};
		e = E
	od
}

proctype writer(byte i) {
	byte other = (i + N - 1) % N;
	byte e, tag = 0, t_epoch, t_index, seen = 0;

#ifdef M_EARLY_E
	e = E;
#endif
	if
	:: atomic { state[other] == COMMITTED -> seen = other + 1 }
	:: atomic { state[other] == PENDING -> skip };
		publish(other);
		commit(other, i, tag);
		if
		:: state[other] == COMMITTED -> seen = other + 1
		:: else
		fi
	:: skip
	fi;
	d_step { state[i] = PENDING; depends[i] = seen; tag = 0 };
	publish(i);
	commit(i, i, tag);
	d_step { finished++; e = 0; tag = 0; t_epoch = 0; t_index = 0; seen = 0 }
}

proctype reaper() {
	if
	:: atomic { state[0] == PENDING -> state[0] = ABORTED }
	:: finished == N
	fi
}

proctype keeper() {
	byte e, r, j, v, t, rounds = 0, crashes = 0;
	byte now[N];		/* logged in this epoch, not yet ended: lost with a crash */

again:
	skip;
	d_step {
		e = 0; r = 0; j = 0;
		do
		:: j < N -> now[j] = 0; j++
		:: else -> break
		od;
		j = 0
	};
	do
	:: rounds < EPOCHS || finished == N ->
		rounds = (rounds < EPOCHS -> rounds + 1 : EPOCHS + 1);
		e = E;
#ifndef M_BUMP_LATE
		E = e + 1;
#endif
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		r = 0;
		do
		:: r < N ->
#ifndef M_NO_CLOSE
			d_step {
				if
				:: ring[r].epoch < e + 1 -> ring[r].epoch = e + 1
				:: else
				fi;
			};
#endif
			r++
		:: else -> break
		od;
#ifdef M_BUMP_LATE
		E = e + 1;
#endif
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		/* settle */
		d_step { r = 0; j = ring[0].head };
		do
		:: r < N && j < ring[r].index && ring[r].tag[j] <= e ->
#ifndef M_NO_SETTLE
			atomic {
				if
				:: ring[r].tag[j] > durable ->
					v = ring[r].version[j];
					t = ring[r].tag[j];
					commit(v, r, t)
				:: else
				fi;
				j++; v = 0; t = 0
			}
#else
			j++
#endif
		:: r < N && !(j < ring[r].index && ring[r].tag[j] <= e) ->
			d_step { r++; j = (r < N -> ring[(r < N -> r : 0)].head : 0) }
		:: r == N -> break
		od;
		settled = e;
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		/* copy to the log: nothing changes any more, so this is one step; then END */
		d_step {
			r = 0; j = ring[0].head;
			do
			:: r < N && j < ring[r].index && ring[r].tag[j] <= e ->
				if
#ifndef M_NO_SKIP
				:: ring[r].tag[j] <= durable -> skip
#endif
#ifdef M_LOG_ANY
				:: state[ring[r].version[j]] == COMMITTED ->
#else
				:: state[ring[r].version[j]] == COMMITTED &&
				   state_slot[ring[r].version[j]] == r &&
				   state_tag[ring[r].version[j]] == ring[r].tag[j] ->
#endif
					now[ring[r].version[j]]++
				:: else
				fi;
				j++
			:: r < N && !(j < ring[r].index && ring[r].tag[j] <= e) ->
				r++; j = (r < N -> ring[(r < N -> r : 0)].head : 0)
			:: r == N -> break
			od;
			r = 0; j = 0
		};
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		d_step {
			/* END on disk: the cut is real from here on */
			do
			:: r < N ->
				if
				:: now[r] > 0 ->
					logged[r] = logged[r] + now[r];
					logged_tag[r] = e;
					now[r] = 0
				:: else
				fi;
				r++
			:: else -> break
			od;
			r = 0;
			do
			:: r < N ->
				assert(logged[r] <= 1);
				assert(logged[r] == 0 || depends[r] == 0 || logged[depends[r] - 1] == 1);
				assert(!(state[r] == COMMITTED && state_tag[r] <= e) || logged[r] == 1);
				r++
			:: else -> break
			od;
			r = 0;
			durable = e
		};
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		/* ring heads move last */
		d_step {
			do
			:: r < N ->
				do
				:: ring[r].head < ring[r].index && ring[r].tag[ring[r].head] <= e -> ring[r].head++
				:: else -> break
				od;
				r++
			:: else -> break
			od;
			r = 0
		};
		if
		:: rounds > EPOCHS -> break
		:: else
		fi
	od;
	skip;
	d_step {
		do
		:: r < N ->
			assert(state[r] == COMMITTED || state[r] == ABORTED);
			assert(logged[r] == (state[r] == COMMITTED -> 1 : 0));
			r++
		:: else -> break
		od
	}
}

init {
	atomic {
		byte k = 0;
		do
		:: k < N -> ring[k].epoch = 1; run writer(k); k++
		:: else -> break
		od;
		run reaper();
		run keeper()
	}
}
