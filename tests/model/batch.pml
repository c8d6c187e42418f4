/*
 * batch: one word decides over many keys (design: batches; engine/batch.c).
 *
 * Two keys, each with a chain that begins with a committed version. A batch is a descriptor {INSTALLING -> READY -> COMMITTED by an entry,
 * or ABORTED}. Its owner puts a version on each key that it writes and a guard on each key that it only requires, in key order, each judged on a decided head;
 * then INSTALLING -> READY, publish an entry, READY -> COMMITTED by that entry. Whoever meets an undecided version of a batch that is INSTALLING
 * aborts it, of one that is READY publishes an entry for it and commits it. The owner of an aborted batch tries again with a new
 * descriptor, after it turned the words of the old one's versions into ABORTED. The settler goes through the entries: the one that committed
 * is logged, the words of its versions turn into COMMITTED (guards: ABORTED), then the descriptor is retired. An owner may die anywhere: the
 * reaper aborts what is not committed, and walks it.
 *
 * -DSKEW  each batch writes one key and requires the other    -DPAIR  both write both keys
 * -DSINGLE  and a single write of the second key stands between     -DDEATH  the first batch's owner may die
 *
 * Asserted: what a reader sees of a key was its newest value at some moment of its read (both keys of a batch get theirs in one moment);
 * what a batch required still held at the moment of its commit; each commit is logged once, nothing else is; a word that refers to a
 * descriptor refers to one that is not retired; at the end no word refers to one, and the newest value heads each chain.
 *
 * @short -DSKEW -DDEATH
 * @extra -DPAIR -DREADERS=1 -DATTEMPTS=1
 * @extra -DPAIR -DSINGLE -DDEATH -DBATCHES=1 -DREADERS=1
 * @full -DSKEW -DDEATH
 * @full -DPAIR -DREADERS=1
 * @full -DPAIR -DSINGLE -DATTEMPTS=1
 * @mutant M_NO_GUARD              a required key is looked at, but nothing is put on it
 * @mutant M_READY_EARLY -DPAIR -DREADERS=1  READY before the last version stands
 * @mutant M_ONE_BY_ONE -DPAIR -DREADERS=1   the versions become visible one by one
 * @mutant M_RETIRE_FIRST -DPAIR -DREADERS=1 the descriptor is retired before all words are turned
 * @mutant M_LOG_ANY               an entry is logged that did not commit
 * @mutant M_RESTORE -DPAIR -DSINGLE -DATTEMPTS=1 -DDEATH  an aborted batch puts the old heads back
 * @mutant M_GUARD_IS_VALUE -DSKEW -DREADERS=1  a decided guard is read as a value
 * @mutant M_REAPER_RETIRES        the reaper retires the descriptor of a dead owner whatever became of it
 * @mutant M_ABORT_COMMITTED       whoever meets it aborts without a CAS
 */
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef BATCHES
#define BATCHES 2
#endif
#define DESCS (BATCHES * ATTEMPTS + 1)
#define VERSIONS (3 + 2 * BATCHES * ATTEMPTS + 1)
#define ENTRIES 10
#define VERSION(d, k) (3 + 2 * ((d) - 1) + (k))	/* of descriptor d on key k */

/* words of versions */
#define PENDING 0
#define COMMITTED 1
#define ABORTED 2
#define BATCH 3
/* words of descriptors */
#define INSTALLING 0
#define READY 1
#define D_COMMITTED 2
#define D_ABORTED 3

byte head[2];
byte word[VERSIONS], desc[VERSIONS], older[VERSIONS], expect[VERSIONS];
bool guard[VERSIONS];
bit key[VERSIONS];
byte place[VERSIONS];		/* ghost: order of commits */

byte dstate[DESCS], dwinner[DESCS], dref[2 * DESCS];
bool dretired[DESCS];
byte ddescs = 1;		/* next descriptor; 0 = none */

byte rdesc[ENTRIES], rversion[ENTRIES];
byte entries = 0;
byte winner[VERSIONS];		/* entry that committed a single write, + 1 */
byte logged[VERSIONS];

byte newest[2];			/* ghost */
byte places = 1;
byte running = 0;
bool dead = false;		/* the first owner has died */
byte dead_desc = 0;

/* The moment of a batch's commit. */
inline visible(d) {
	assert(!dretired[d]);
	places++;
	g = 0;
	do
	:: g < 2 ->
		if
		:: dref[2 * d + g] == 0 -> skip
		:: else ->
			assert(expect[dref[2 * d + g]] == 0 || newest[key[dref[2 * d + g]]] == expect[dref[2 * d + g]]);
			if
			:: !guard[dref[2 * d + g]] ->
				newest[key[dref[2 * d + g]]] = dref[2 * d + g];
				place[dref[2 * d + g]] = places
			:: else
			fi
		fi;
		g++
	:: else -> break
	od;
	g = 0
}

inline publish_batch(d) {
	atomic { e = entries; rdesc[e] = d; entries++ };
	atomic {
		if
		:: dstate[d] == READY -> dstate[d] = D_COMMITTED; dwinner[d] = e + 1; visible(d)
		:: else
		fi;
		e = 0
	}
}

inline publish_single(v) {
	atomic { e = entries; rversion[e] = v; entries++ };
	atomic {
		if
		:: word[v] == PENDING ->
			word[v] = COMMITTED; winner[v] = e + 1; places++; place[v] = places; newest[key[v]] = v
		:: else
		fi;
		e = 0
	}
}

/* s = what has become of version v: PENDING, READY (as PENDING, of a batch), COMMITTED, ABORTED */
inline outcome(v, s, d) {
	d = 0;
	atomic {
		s = word[v];
		if
		:: s == BATCH -> d = desc[v]; assert(!dretired[d])
		:: else
		fi
	};
	if
	:: d != 0 ->
		if
#ifdef M_GUARD_IS_VALUE
		:: dstate[d] == D_COMMITTED -> s = COMMITTED
#else
		:: dstate[d] == D_COMMITTED -> s = (guard[v] -> ABORTED : COMMITTED)
#endif
		:: dstate[d] == D_ABORTED -> s = ABORTED
		:: else -> s = BATCH
		fi
	:: else
	fi
}

/* h = the head of k, decided */
inline decided_head(k, h) {
	do
	:: h = head[k];
		outcome(h, s, d);
		if
		:: s == PENDING -> publish_single(h)
		:: s == BATCH ->
			if
			:: dstate[d] == READY -> publish_batch(d)
#ifdef M_ABORT_COMMITTED
			:: dstate[d] == INSTALLING -> dstate[d] = D_ABORTED
#else
			:: atomic { dstate[d] == INSTALLING -> dstate[d] = D_ABORTED }
#endif
			:: dstate[d] == D_COMMITTED || dstate[d] == D_ABORTED -> skip
			fi
		:: else -> break
		fi;
		h = 0
	od;
	s = 0; d = 0
}

/* b = newest committed version at or below h, which is decided, as is all below it */
inline base_of(h, b) {
	d_step {
		b = h;
		do
		:: word[b] == COMMITTED || (word[b] == BATCH && dstate[desc[b]] == D_COMMITTED && !guard[b]) -> break
		:: else -> b = older[b]
		od
	}
}

/* Turns the words of an aborted batch's versions. */
inline walk(x) {
	i = 0;
	do
	:: i < 2 ->
		atomic {
			if
			:: dref[2 * x + i] != 0 && word[dref[2 * x + i]] == BATCH -> word[dref[2 * x + i]] = ABORTED
			:: else
			fi
		};
#ifdef M_RESTORE
		if
		:: dref[2 * x + i] != 0 -> head[key[dref[2 * x + i]]] = older[dref[2 * x + i]]
		:: else
		fi;
#endif
		i++
	:: else -> break
	od;
	atomic { dretired[x] = true; i = 0 }
}

#ifdef DEATH
#define MAY_DIE	if :: me == 0 -> atomic { dead_desc = mine; dead = true; goto out } :: true fi
#else
#define MAY_DIE	skip
#endif

proctype batcher(bit me) {
	byte mine, h, b, v, s, d, e, g, i, k, tries = 0;

	do
	:: tries < ATTEMPTS ->
		d_step { tries++; mine = ddescs; ddescs++; k = 0 };
		/* in key order */
		do
		:: k < 2 ->
			MAY_DIE;
			do
			:: decided_head(k, h);
				base_of(h, b);
#ifdef SKEW
				/* requires the value that stood there in the beginning */
				if
				:: k == me && b != k + 1 -> goto give_up
				:: else
				fi;
#ifdef M_NO_GUARD
				if
				:: k == me -> break
				:: else
				fi;
#endif
#endif
#ifdef M_READY_EARLY
				if
				:: k == 1 && dstate[mine] == INSTALLING -> dstate[mine] = READY
				:: else
				fi;
#endif
				d_step {
					v = VERSION(mine, k);
					key[v] = k;
					desc[v] = mine;
					word[v] = BATCH;
#ifdef SKEW
					guard[v] = (k == me);
					expect[v] = (k == me -> k + 1 : 0);
#endif
				};
				dref[2 * mine + k] = v;	/* listed before it can be found */
				MAY_DIE;
				atomic {
					if
					:: head[k] == h -> older[v] = h; head[k] = v; h = 0; b = 0; v = 0; break
					:: else -> dref[2 * mine + k] = 0; v = 0; h = 0; b = 0
					fi
				}
			od;
			k++
		:: else -> break
		od;
		MAY_DIE;
		atomic {
			if
			:: dstate[mine] == INSTALLING -> dstate[mine] = READY; s = 1
			:: dstate[mine] == READY -> s = 1
			:: else -> s = 0
			fi
		};
#if defined(SKEW) && defined(M_NO_GUARD)
		/* what was looked at is required all the same: ghost */
#endif
		MAY_DIE;
		if
		:: s == 1 ->
			s = 0;
#ifdef M_ONE_BY_ONE
			/* each version's own word */
			atomic { e = entries; rdesc[e] = mine; entries++; dstate[mine] = D_COMMITTED; dwinner[mine] = e + 1; places++; e = 0;
				newest[0] = dref[2 * mine]; place[dref[2 * mine]] = places;
				newest[1] = dref[2 * mine + 1]; place[dref[2 * mine + 1]] = places; word[dref[2 * mine]] = COMMITTED;
				word[dref[2 * mine + 1]] = PENDING };
			word[dref[2 * mine + 1]] = COMMITTED;
#else
#ifdef M_NO_GUARD
			atomic {
				if
				:: dstate[mine] == READY -> assert(newest[me] == me + 1)
				:: else
				fi
			};
#endif
			publish_batch(mine);
#endif
			MAY_DIE;
			if
			:: dstate[mine] == D_COMMITTED -> goto out
			:: else
			fi
		:: else
		fi;
		walk(mine);
		MAY_DIE
	:: else -> goto out
	od;
give_up:
	/* a requirement does not hold */
	atomic {
		if
		:: dstate[mine] == INSTALLING -> dstate[mine] = D_ABORTED
		:: else
		fi
	};
	MAY_DIE;
	walk(mine);
out:	skip; d_step { running--; mine = 0; h = 0; b = 0; v = 0; s = 0; d = 0; e = 0; g = 0; i = 0; k = 0; tries = 0 }
}

#ifdef SINGLE
proctype single() {
	byte h, v, s, d, e, g;

	do
	:: decided_head(1, h);
		d_step { v = VERSIONS - 1; key[v] = 1; word[v] = PENDING };
		atomic {
			if
			:: head[1] == h -> older[v] = h; head[1] = v; break
			:: else
			fi
		}
	od;
	publish_single(v);
	skip; d_step { running--; h = 0; v = 0; s = 0; d = 0; e = 0; g = 0 }
}
#endif

#if READERS
proctype reader() {
	byte h, s, d, want;
	bit k;

	if
	:: k = 0
	:: k = 1
	fi;
	want = place[newest[k]];
	h = head[k];
	do
	:: outcome(h, s, d);
		if
		:: s == COMMITTED -> break
		:: else -> h = older[h]
		fi
	od;
	assert(!guard[h]);
	assert(place[h] >= want);
	want = place[h];
	/* the other key, having seen this one */
	d_step { k = 1 - k; want = place[newest[k]] };
	h = head[k];
	do
	:: outcome(h, s, d);
		if
		:: s == COMMITTED -> break
		:: else -> h = older[h]
		fi
	od;
	assert(!guard[h] && place[h] >= want);
	skip; d_step { running--; h = 0; s = 0; d = 0; want = 0; k = 0 }
}
#endif

#ifdef DEATH
proctype reaper() {
	byte i, x;

	if
	:: dead ->
		x = dead_desc;
		if
		:: x != 0 ->
			atomic {
				if
				:: dstate[x] == INSTALLING || dstate[x] == READY -> dstate[x] = D_ABORTED
				:: else
				fi
			};
			if
#ifdef M_REAPER_RETIRES
			:: dretired[x] == false -> walk(x)
#else
			:: dstate[x] == D_ABORTED && !dretired[x] -> walk(x)
#endif
			:: else
			fi
		:: else
		fi
	:: timeout -> skip
	fi;
	x = 0
}
#endif

proctype settler() {
	byte n = 0, d, v, i, g;

	do
	:: n < entries ->
		d = rdesc[n];
		v = rversion[n];
		if
		:: d != 0 ->
			/* its entry stands, so its memory does, unless it was turned and retired by an entry before this one */
			atomic {
				if
				:: dstate[d] == READY -> dstate[d] = D_COMMITTED; dwinner[d] = n + 1; visible(d)
				:: else
				fi
			};
			if
#ifdef M_LOG_ANY
			:: dstate[d] == D_COMMITTED ->
#else
			:: dstate[d] == D_COMMITTED && dwinner[d] == n + 1 ->
#endif
				assert(!dretired[d]);
#ifdef M_RETIRE_FIRST
				dretired[d] = true;
#endif
				i = 0;
				do
				:: i < 2 ->
					atomic {
						v = dref[2 * d + i];
						if
						:: v != 0 && !guard[v] -> logged[v]++
						:: else
						fi;
						if
						:: v != 0 && word[v] == BATCH -> word[v] = (guard[v] -> ABORTED : COMMITTED)
						:: else
						fi;
						v = 0
					};
					i++
				:: else -> break
				od;
				atomic { i = 0; dretired[d] = true }
			:: else
			fi
		:: v != 0 ->
			atomic {
				if
				:: word[v] == PENDING -> word[v] = COMMITTED; winner[v] = n + 1; places++; place[v] = places; newest[key[v]] = v
				:: else
				fi;
				if
				:: word[v] == COMMITTED && winner[v] == n + 1 -> logged[v]++
				:: else
				fi
			}
		:: else
		fi;
		d_step { n++; d = 0; v = 0 }
	:: running == 0 && n == entries -> break
	od;
	/* the end: one look at everything */
	timeout;
	atomic {
		v = 3;
		do
		:: v < VERSIONS ->
			assert(logged[v] <= 1);
			assert((place[v] != 0) == (logged[v] == 1));
			v++
		:: else -> break
		od;
		assert(entries <= ENTRIES);
		do
		:: i < 2 ->
			v = head[i];
			do
			:: word[v] == ABORTED -> v = older[v]
			:: else -> break
			od;
			assert(v == newest[i]);
			do
			:: v != 0 -> assert(word[v] == COMMITTED || word[v] == ABORTED); v = older[v]
			:: else -> break
			od;
			i++
		:: else -> break
		od
	}
}

init {
	atomic {
		head[0] = 1; word[1] = COMMITTED; key[1] = 0; newest[0] = 1; place[1] = 1;
		head[1] = 2; word[2] = COMMITTED; key[2] = 1; newest[1] = 2; place[2] = 1;
		logged[1] = 1; logged[2] = 1;
		running = BATCHES + READERS;
		run batcher(0);
#if BATCHES > 1
		run batcher(1);
#endif
#ifdef SINGLE
		running++;
		run single();
#endif
#if READERS
		run reader();
#endif
#ifdef DEATH
		run reaper();
#endif
		run settler()
	}
}
