/*
 * floor: taking a snapshot against pruning (design: snapshots; engine/snapshot.c, shm/reclaim.c).
 *
 * Version n of a key has tag n and is superseded at n+1, so a snapshot S needs exactly version S. Holder: S = settled, store S, barrier,
 * read the announced floor P, again if S < P. Daemon: P = settled, announce P, barrier, read the held S, fill the copy of (P, set) that
 * is not in force, publish its number; it may die while filling and start again. Pruners in other processes take the copy (number, P,
 * set, number again) and may use it much later. A missing barrier shows as the two accesses in the other order.
 *
 * Asserted: the version of a snapshot that was taken stands until it is dropped.
 *
 * @short -DEPOCHS=3 -DROUNDS=2 -DPASSES=1
 * @full -DEPOCHS=3 -DROUNDS=3 -DPASSES=1
 * @mutant M_HOLDER_ORDER     the holder reads P before its S can be seen
 * @mutant M_KEEPER_ORDER     the daemon reads the held set before it announced P
 * @mutant M_NO_RETRY         the holder keeps an S below P
 * @mutant M_MINIMUM          versions go by P alone
 * @mutant M_NO_RECHECK -DEPOCHS=3 -DROUNDS=3 -DPASSES=1  a pruner does not look at the number again after it copied
 * @mutant M_ONE_COPY         the daemon fills the copy that is in force
 */
#define NONE 0

byte settled = 1, P = 0;
byte slot = NONE;		/* the holder's announced S */
byte number = 0;
byte copy_floor[2], copy_held[2];
bool pruned[EPOCHS + 3];
bool holder_done = false;

proctype clock() {
	do
	:: settled < EPOCHS -> settled++
	:: else -> break
	od
}

proctype holder() {
	byte S, p, n = 0;

	do
	:: n < 2 ->
		n++;
		do
		:: S = settled;
#ifdef M_HOLDER_ORDER
			p = P;
			slot = S;
#else
			slot = S;
			p = P;
#endif
			if
#ifdef M_NO_RETRY
			:: true -> break
#else
			:: S >= p -> break
			:: else
#endif
			fi
		od;
		assert(!pruned[S]);
		assert(!pruned[S]);
		slot = NONE;
		S = 0; p = 0
	:: else -> break
	od;
	holder_done = true
}

proctype keeper() {
	byte p, held, at, n = 0;

	do
	:: n < ROUNDS ->
		n++;
		p = settled;
#ifdef M_KEEPER_ORDER
		held = slot;
		P = p;
#else
		P = p;
		held = slot;
#endif
#ifdef M_ONE_COPY
		at = number % 2;
#else
		at = (number + 1) % 2;
#endif
		copy_floor[at] = p;
		if
		:: n < ROUNDS -> goto died
		:: true
		fi;
		copy_held[at] = held;
		number++;
died:		held = 0; p = 0; at = 0
	:: else -> break
	od
}

proctype pruner() {
	byte v, p, held, k, n = 0;

	do
	:: n < PASSES ->
		n++;
		do
		:: v = number;
			p = copy_floor[v % 2];
			held = copy_held[v % 2];
#ifndef M_NO_RECHECK
			if
			:: number == v -> break
			:: else
			fi
#else
			break
#endif
		od;
		k = 1;
		do
		:: k <= EPOCHS + 1 ->
#ifdef M_MINIMUM
			if
			:: k + 1 <= p -> pruned[k] = true
#else
			if
			:: k + 1 <= p && held != k -> pruned[k] = true
#endif
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0; v = 0; p = 0; held = 0
	:: else -> break
	od
}

init {
	atomic {
		run clock();
		run holder();
		run keeper();
		run pruner()
	}
}
