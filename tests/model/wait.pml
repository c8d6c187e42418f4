/*
 * wait: no wake-up is lost between clients and the daemon (design: waiting; shm/wait.c). Time-outs are left out on purpose: whatever
 * would need one shows as a deadlock. (They are there for processes that die between publish and wake.)
 *
 * Bell. Client: publish, then look at the bell; swap 1 -> 0 and wake. Daemon: bell = 1, fence, look for work, futex_wait(bell, 1),
 * bell = 0. Durability. Waiter: wait_epoch = e, then load the futex word, then look at durable_epoch, then futex_wait(word as
 * loaded). Daemon: durable_epoch, futex word, then read the wait_epochs, wake who waits for what is durable.
 *
 * Asserted: no deadlock until every client has seen its write durable.
 *
 * @short -DCLIENTS=2 -DWRITES=2
 * @full -DCLIENTS=3 -DWRITES=1
 * @full -DCLIENTS=2 -DWRITES=3
 * @mutant M_BELL_EARLY     the client looks at the bell before it publishes
 * @mutant M_NO_RECHECK     the daemon does not look for work after it set the bell
 * @mutant M_NO_COMPARE     the daemon sleeps whatever the bell says
 * @mutant M_SEEN_LATE      the waiter loads the futex word after its look at durable_epoch
 * @mutant M_NO_WORD        the daemon leaves the futex word as it is
 * @mutant M_FUTEX_EARLY    the daemon changes the futex word before durable_epoch
 * @mutant M_SCAN_EARLY     the daemon reads the wait_epochs before durable_epoch is stored
 */
byte published = 0, durable = 0, word = 0;
bit bell = 0;
bool keeper_asleep = false;
byte wait_epoch[CLIENTS];
bool asleep[CLIENTS];
byte finished = 0;

inline ring() {
	if
	:: bell == 1 ->
		atomic {
			if
			:: bell == 1 -> bell = 0; mine = true
			:: else
			fi
		};
		if
		:: mine -> keeper_asleep = false; mine = false
		:: else
		fi
	:: else
	fi
}

proctype client(byte me) {
	byte n = 0, e, seen;
	bool mine = false;

	do
	:: n < WRITES ->
		n++;
#ifdef M_BELL_EARLY
		ring();
#endif
		d_step { published++; e = published };
#ifndef M_BELL_EARLY
		ring();
#endif
		wait_epoch[me] = e;
		do
		:: durable >= e -> break
		:: else ->
#ifndef M_SEEN_LATE
			seen = word;
#endif
			if
			:: durable >= e -> break
			:: else
			fi;
#ifdef M_SEEN_LATE
			seen = word;
#endif
			atomic {
				if
				:: word == seen -> asleep[me] = true
				:: else
				fi
			};
			!asleep[me]
		od;
		wait_epoch[me] = 0;
		seen = 0; e = 0
	:: else -> break
	od;
	finished++
}

inline wake() {
	i = 0;
	do
	:: i < CLIENTS ->
		if
		:: wait_epoch[i] != 0 && wait_epoch[i] <= work -> who = who | (1 << i)
		:: else
		fi;
		i++
	:: else -> break
	od
}

proctype keeper() {
	byte work, i, who = 0;

	do
	:: published > durable ->
		work = published;
#ifdef M_SCAN_EARLY
		wake();
#endif
#ifdef M_FUTEX_EARLY
		word = work;
#endif
		durable = work;
#if !defined(M_FUTEX_EARLY) && !defined(M_NO_WORD)
		word = work;
#endif
#ifndef M_SCAN_EARLY
		wake();
#endif
		/* one FUTEX_WAKE */
		skip; d_step {
			i = 0;
			do
			:: i < CLIENTS ->
				if
				:: (who >> i) & 1 -> asleep[i] = false
				:: else
				fi;
				i++
			:: else -> break
			od;
			i = 0; who = 0; work = 0
		}
	:: published == durable ->
		bell = 1;
#ifndef M_NO_RECHECK
		if
		:: published > durable -> goto up
		:: else
		fi;
#endif
		atomic {
			if
#ifdef M_NO_COMPARE
			:: true -> keeper_asleep = true
#else
			:: bell == 1 -> keeper_asleep = true
			:: else
#endif
			fi
		};
end:		!keeper_asleep;
up:		bell = 0
	od
}

init {
	byte k = 0;

	atomic {
		do
		:: k < CLIENTS -> run client(k); k++
		:: else -> break
		od;
		run keeper()
	}
}
