/*
 * bell: no tick is lost between a client's event loop and the daemon (client/bell.c, tools/daemon_bell.c). The loop sleeps without a
 * time-out, so whatever would need one shows as a deadlock; only while there is no daemon does the client look now and then.
 *
 * Client, each turn: drain the connection, connect and send BELL if there is none, look at durable, arm for the ticket, look again, sleep
 * until the connection is readable. Step thread: durable, then, if the bell hangs, read what it is armed for, and one tick for each
 * ticket. Main thread: BELL hangs the bell, then the reply. The daemon may die between any two steps: the connection hangs up, the
 * next one knows no bell.
 *
 * Asserted: no deadlock until the client has seen each ticket durable.
 *
 * @short -DTICKETS=3 -DDEATHS=1
 * @full -DTICKETS=5 -DDEATHS=3
 * @mutant M_LOOK_FIRST     the client does not look again after it armed
 * @mutant M_SCAN_EARLY     the step thread looks at the bells before durable is stored
 * @mutant M_REPLY_FIRST    the main thread replies before the bell hangs
 * @mutant M_NO_REPLY       the reply does not make the client look
 * @mutant M_NO_HANGUP      nothing wakes the client when the daemon dies
 * @mutant M_DRAIN_LATE     the client drains the connection after its look
 * @mutant M_TOLD_ONCE      a bell that was rung is not rung for the next ticket
 */
byte durable = 0, armed = 0;
bool connected = false;    /* as the client believes */
bool request = false;      /* BELL lies in the daemon's socket */
bool hangs = false;        /* the bell is on the daemon's list */
byte told = 0;
bool readable = false;
bool finished = false;

/* A death comes between atomic steps only: `life` tells a step of the old daemon from one of the new. */
byte life = 0;

proctype client() {
	byte ticket = 1;

	do
	:: ticket <= TICKETS ->
#ifndef M_DRAIN_LATE
		readable = false;
#endif
		atomic {
			if
			:: !connected -> connected = true; request = true
			:: else
			fi
		};
		if
		:: durable >= ticket -> ticket++
		:: else ->
			armed = ticket;
			if
#ifndef M_LOOK_FIRST
			:: durable >= ticket
#endif
			:: else ->
#ifdef M_DRAIN_LATE
				readable = false;
#endif
				readable
			fi
		fi
	:: else -> break
	od;
	finished = true
}

#ifdef M_TOLD_ONCE
#define NOT_TOLD (told == 0)
#else
#define NOT_TOLD (seen != told)
#endif

inline ring() {
	if
	:: hangs ->
		seen = armed;
		atomic {
			if
			:: life == born && hangs && seen != 0 && seen <= upto && NOT_TOLD -> told = seen; readable = true
			:: else
			fi
		}
	:: else
	fi;
	seen = 0
}

inline store() {
	atomic {
		if
		:: life == born -> durable = upto
		:: else
		fi
	}
}

proctype step() {
	byte upto, seen, born;

	do
	:: durable < TICKETS ->
		atomic { born = life; upto = durable + 1 };
#ifdef M_SCAN_EARLY
		ring();
		store();
#else
		store();
		ring();
#endif
		upto = 0
	:: else -> break
	od
}

proctype main_thread() {
	byte born;

end:	do
	:: atomic { request -> request = false; born = life };
#ifdef M_REPLY_FIRST
		atomic { if :: life == born -> readable = true :: else fi };
		atomic { if :: life == born -> hangs = true; told = 0 :: else fi }
#else
		atomic {
			if
			:: life == born -> hangs = true; told = 0
			:: else
			fi
		};
#ifndef M_NO_REPLY
		atomic { if :: life == born -> readable = true :: else fi }
#endif
#endif
	od
}

proctype death() {
	byte n = 0;

	do
	:: n < DEATHS ->
		n++;
		atomic {
			life++;
			hangs = false;
			request = false;
			if
			:: connected ->
				connected = false;
#ifndef M_NO_HANGUP
				readable = true
#endif
			:: else
			fi
		}
	:: break
	od
}

init {
	atomic { run client(); run step(); run main_thread(); run death() }
}
