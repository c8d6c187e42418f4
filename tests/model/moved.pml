/*
 * moved: what a snapshot was given stays, though its cell was moved and retired (shm/reclaim.c, engine/snapshot.c).
 *
 * A holder takes a snapshot, reads in a section, keeps a pointer to the cell, leaves the section and uses the pointer until it drops
 * the snapshot. A mover takes the cell out of its leaf and retires it as moved. The daemon's round: bump the era, scan the holder's
 * slot, announce; then the block may be freed by what was announced. The holder's plain stores reach the slot in their order but late (a store
 * buffer), its fence and the daemon's membarrier empty it.
 *
 * The order in which the era and S are stored, and S and the interval are scanned, does not matter: an older era protects more, and who is not
 * seen begins his sections after the bump.
 *
 * Asserted: the cell is not free while the holder may use its pointer.
 *
 * @short -DROUNDS=2 -DHOLDS=2
 * @full -DROUNDS=3 -DHOLDS=2
 * @mutant M_NOT_MOVED       retired as anything else is: only intervals count
 * @mutant M_NO_FENCE        the holder does not fence between S and its first section
 * @mutant M_RETIRE_EARLY    the retire era is read before the cell leaves the leaf
 * @mutant M_BELOW           freed when the oldest snapshot began in the era of the retirement
 */
#define IDLE 255
#define NEVER 254

#define UNREAD (retired_era && retired_era < scan_era && (interval == IDLE || interval > retired_era))
#if defined(M_NOT_MOVED)
#define MAY_FREE UNREAD
#elif defined(M_BELOW)
#define MAY_FREE (UNREAD && retired_era <= oldest)
#else
#define MAY_FREE (UNREAD && retired_era < oldest)
#endif

byte era = 1;
bool linked = true, freed = false;
byte retired_era = 0;		/* 0 = not retired */

/* the holder's slot, and what is on the way to it */
byte low = IDLE, S = 0, S_era = 0;
byte word[6], value[6], waiting = 0;	/* which word, what value */

inline store(w, v) {
	atomic { word[waiting] = w; value[waiting] = v; waiting++ }
}

inline one_store() {
	d_step {
		if
		:: word[0] == 0 -> low = value[0]
		:: word[0] == 1 -> S = value[0]
		:: else -> S_era = value[0]
		fi;
		i = 1;
		do
		:: i < waiting -> word[i - 1] = word[i]; value[i - 1] = value[i]; i++
		:: else -> break
		od;
		waiting--;
		word[waiting] = 0;
		value[waiting] = 0;
		i = 0
	}
}

inline drain() {
	do
	:: waiting > 0 -> one_store()
	:: else -> break
	od
}

proctype memory() {
	byte i;

end:	do
	:: atomic { waiting > 0 -> one_store() }
	od
}

proctype holder() {
	byte i, e, n = 0;
	bool have;

	do
	:: n < HOLDS ->
		n++;
		e = era;
		store(2, e);
		store(1, 1);
#ifndef M_NO_FENCE
		atomic { drain() };
#endif
		/* a section: publish the era, look at it again after the load of the reference */
		e = era;
		store(0, e);
		do
		:: have = linked;
			if
			:: era == e -> break
			:: else -> e = era /* `high` is raised; the lower end stays, which protects more */
			fi
		od;
		if
		:: have -> assert(!freed)
		:: else
		fi;
		store(0, IDLE);
		if
		:: have -> assert(!freed)	/* outside of the section */
		:: else
		fi;
		if
		:: have -> assert(!freed)
		:: else
		fi;
		store(1, 0)
	:: else -> break
	od
}

proctype mover() {
	byte e;

#ifdef M_RETIRE_EARLY
	e = era;
	linked = false;
#else
	linked = false;
	e = era;
#endif
	retired_era = e
}

proctype daemon() {
	byte i, n = 0, scan_era, interval, oldest, s;

	do
	:: n < ROUNDS ->
		n++;
		era++;
		scan_era = era;
		atomic { drain() };	/* membarrier */
		interval = low;
		s = S;
		if
		:: s -> oldest = S_era
		:: else -> oldest = NEVER
		fi;
		/* announced: judge the block, if it is retired */
		if
		:: MAY_FREE -> freed = true
		:: else
		fi
	:: else -> break
	od
}

init {
	atomic {
		run memory();
		run holder();
		run mover();
		run daemon()
	}
}
