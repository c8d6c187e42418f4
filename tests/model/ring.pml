/*
 * ring: room in a slot's log ring, with helping (design: write path; engine/ring.c, version.c pp_version_help).
 *
 * An operation reserves an entry with SPARE more for helping, or fails when the daemon is too slow; then it meets undecided versions of
 * others on its key, any number of them, and publishes each in its own ring, as long as OWN entry remains; without that it fails, with nothing
 * of its own installed; else it installs its version and publishes it. Nobody but the owner produces, so room only grows under it. The
 * daemon settles what it finds, makes it durable, and only then moves the head; it may die in between, and the next one begins at the head.
 *
 * Asserted: an entry that is not durable is never overwritten; each operation that returned is logged once, one that failed never.
 *
 * @short -DOPS=3 -DHELPS=3 -DCRASHES=1
 * @full -DOPS=4 -DHELPS=4 -DCRASHES=2
 * @mutant M_HELP_ALL      helping leaves no entry for the own version
 * @mutant M_NO_RESERVE    the entry is not reserved before the version is installed, only waited for if there is no room
 * @mutant M_HEAD_EARLY    the head moves when entries are settled, not when they are durable
 * @mutant M_KEEP_PLACE    a new daemon goes on where the dead one had settled, not at the head
 * @mutant M_FAIL_LATE     an operation that finds no room fails after its version was installed and might be helped by others
 */
#define CAP 4
#define SPARE 2
#define OWN 1
#define HELP 0			/* entry of somebody else's version */

byte index = 0, head = 0, consumed = 0;
byte entry[CAP];
byte logged[OPS + 1], now[OPS + 1];
bool returned[OPS + 1], failed[OPS + 1];
bool pending_own = false;	/* ghost: a version that another may help, and so log */
byte own = 0;
bool finished = false;

#define USED (index - head)

inline put(id) {
	assert(USED < CAP);
	entry[index % CAP] = id;
	index++
}

proctype writer() {
	byte n = 0, h;

	do
	:: n < OPS ->
		n++;
		h = 0;
#ifndef M_NO_RESERVE
		if
		:: USED + SPARE < CAP		/* waits for it, */
		:: failed[n] = true; goto next	/* or gives up */
		fi;
#endif
		do
		:: h < HELPS ->			/* the head is undecided */
			h++;
#ifdef M_HELP_ALL
			if
			:: USED < CAP -> put(HELP)
			:: else -> failed[n] = true; goto next
			fi
#else
			if
			:: USED + OWN < CAP -> put(HELP)
			:: else -> failed[n] = true; goto next
			fi
#endif
		:: true -> break
		od;
		skip;
		d_step { own = n; pending_own = true };
#ifdef M_FAIL_LATE
		if
		:: USED + OWN < CAP
		:: else -> failed[n] = true; goto next
		fi;
#endif
#ifdef M_NO_RESERVE
		if
		:: USED < CAP
		:: failed[n] = true; goto next
		fi;
#endif
		put(n);
		d_step { pending_own = false; returned[n] = true };
next:		skip; d_step { h = 0 }
	:: else -> break
	od;
	finished = true
}

/* One who meets a version left undecided helps it, in a ring of its own. */
proctype other() {
end:	do
	:: atomic { pending_own && failed[own] -> assert(false) }
	od
}

proctype keeper() {
	byte t, j, crashes = 0;
	bool last = false;

again:	skip;
	d_step {
		j = 0;
		do
		:: j <= OPS -> now[j] = 0; j++
		:: else -> break
		od;
		j = 0;
#ifndef M_KEEP_PLACE
		consumed = head
#endif
	};
	do
	:: index > consumed || finished ->
		last = finished;
		t = index;
		do
		:: consumed < t ->
			d_step { now[entry[consumed % CAP]]++; consumed++ }
		:: else -> break
		od;
		skip;
#ifdef M_HEAD_EARLY
		head = consumed;
#endif
		if
		:: crashes < CRASHES -> crashes++; goto again
		:: skip
		fi;
		d_step {
			j = 1;
			do
			:: j <= OPS -> logged[j] = logged[j] + now[j]; now[j] = 0; j++
			:: else -> break
			od;
			j = 0
		};
		head = consumed;
		if
		:: last -> break
		:: else
		fi
	od;
	skip;
	d_step {
		j = 1;
		do
		:: j <= OPS ->
			assert(returned[j] || failed[j]);
			assert(logged[j] == (returned[j] -> 1 : 0));
			j++
		:: else -> break
		od
	}
}

init {
	atomic {
		run writer();
		run other();
		run keeper()
	}
}
