/*
 * evict: taking an idle holder's pin away (design: pin budgets; shm/slot.c, engine/pins.c, client/view.c).
 *
 * A view of a read-write client holds something (an interval or a cut) from its begin to its end or refresh, and reads in calls between.
 * Each hold has a number: stored before what is held is published. A call stores `busy`, then looks at `evicted`, and only then at
 * memory. The daemon evicts hold n: it reads the number, stores evicted = n, a barrier on all CPUs (membarrier), and reads `busy` again: set, it
 * withdraws and honours the hold, else it stops honouring that number. What is retired may then be freed after a scan: barrier, read
 * `held`, then the number.
 * The client's stores go through a store buffer, which drains in order, at any time or by the daemon's barrier; the daemon's own do not
 * need one, it fences.
 *
 * Asserted: a call that looks at memory never finds it freed. An evicted hold is never read successfully again. A hold that was not evicted is
 * never refused. A new hold is honoured whatever became of the last one.
 *
 * @short -DHOLDS=2 -DCALLS=2 -DEVICTIONS=2
 * @full -DHOLDS=3 -DCALLS=3 -DEVICTIONS=3
 * @mutant M_NO_BARRIER      no barrier between evicted and the look at busy
 * @mutant M_LOOK_FIRST      the client looks at evicted before it stores busy
 * @mutant M_NO_RECHECK      the daemon does not look at busy after it stored evicted
 * @mutant M_NO_WITHDRAW     it finds busy set and honours the hold, but leaves it evicted
 * @mutant M_FLAG            evicted is a flag, not the number of a hold
 * @mutant M_NUMBER_LATE     the number is stored after the fence that begins the hold
 */
#define BUFFER 4
#define HELD 0
#define NUMBER 1
#define BUSY 2
#ifdef M_FLAG
#define REFUSED (seen != 0)
#else
#define REFUSED (seen == n)
#endif

byte word[3];			/* shared: held, number, busy */
byte queue_what[BUFFER], queue_value[BUFFER], queued;
byte evicted;			/* daemon's: number of the hold, 0 none */
byte retired;			/* unlinked while held: 0 no, 1 retired, 2 freed */
byte pinned;			/* ghost: the hold whose memory `retired` is, 0 none */
byte ignored;			/* ghost: hold that the daemon stopped honouring */
bool deciding, over;		/* ghost: between evicted and the look at busy */

inline store(what, value) {
	atomic {
		queued < BUFFER;
		queue_what[queued] = what;
		queue_value[queued] = value;
		queued++
	}
}

inline drain_one() {
	d_step {
		word[queue_what[0]] = queue_value[0];
		queue_what[0] = queue_what[1]; queue_value[0] = queue_value[1];
		queue_what[1] = queue_what[2]; queue_value[1] = queue_value[2];
		queue_what[2] = queue_what[3]; queue_value[2] = queue_value[3];
		queue_what[3] = 0; queue_value[3] = 0;
		queued--
	}
}

inline barrier() {
	atomic {
		do
		:: queued > 0 -> drain_one()
		:: else -> break
		od
	}
}

/* refused may be only what is not honoured any more, or what the daemon is about to decide */
inline look() {
	atomic {
		seen = evicted;
		assert(!REFUSED || ignored == n || deciding)
	}
}

proctype memory() {
	do
	:: atomic { queued > 0 -> drain_one() }
	:: over && queued == 0 -> break
	od
}

proctype client() {
	byte n = 0, calls, seen;

	do
	:: n < HOLDS ->
		n++;
		calls = 0;
#ifndef M_NUMBER_LATE
		store(NUMBER, n);
#endif
		store(HELD, 1);
		/* begin: the era is read after a fence or by the daemon's barrier: what is reached is not retired before a scan that misses us */
		atomic { barrier(); pinned = n; retired = 0 };
#ifdef M_NUMBER_LATE
		store(NUMBER, n);
#endif
		do
		:: calls < CALLS ->
			calls++;
#ifdef M_LOOK_FIRST
			look();
			store(BUSY, 1);
#else
			store(BUSY, 1);
			look();
#endif
			if
			:: REFUSED ->
				store(BUSY, 0);
				break
			:: else ->
				/* looks at memory, twice: anything may happen between */
				assert(!(pinned == n && retired == 2));
				assert(!(pinned == n && retired == 2));
				store(BUSY, 0)
			fi
		:: break
		od;
		store(HELD, 0);
		/* end: what was held is nobody's business any more */
		atomic { pinned = 0; retired = 0 }
	:: else -> break
	od;
	over = true
}

/* Evicts, and frees what nobody holds: the house thread does both. */
proctype daemon() {
	byte n, tries = 0, held, number, b, refused = 0;

	do
	:: tries < EVICTIONS ->
		tries++;
		/* someone unlinks and retires what the view can still see */
		atomic {
			if
			:: pinned && retired == 0 -> retired = 1
			:: else
			fi
		};
		n = word[NUMBER];
		if
		:: word[HELD] && n && !word[BUSY] && evicted != n ->
			atomic { evicted = n; deciding = true };
#ifndef M_NO_BARRIER
			barrier();
#endif
#ifdef M_NO_RECHECK
			b = 0;
#else
			b = word[BUSY];
#endif
			if
			:: b ->
				atomic {
#ifndef M_NO_WITHDRAW
					evicted = 0;
#else
					refused = n;
#endif
					deciding = false
				}
			:: else -> atomic { ignored = n; deciding = false }
			fi
		:: else
		fi;
		/* a round: barrier, scan, free */
		barrier();
		if
		:: retired == 1 ->
			number = word[NUMBER];
			held = word[HELD];
#ifdef M_FLAG
			if
			:: !held || evicted ->
#else
			if
			:: !held || (evicted == number && refused != number) ->
#endif
				atomic {
					if
					:: retired == 1 -> retired = 2
					:: else
					fi
				}
			:: else
			fi
		:: else
		fi
	:: over || tries == EVICTIONS -> break
	od
}

init {
	atomic {
		run memory();
		run client();
		run daemon()
	}
}
