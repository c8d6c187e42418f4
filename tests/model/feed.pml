/*
 * feed: a follower of the log hands out each change once, in order, and only what no crash takes back (engine/follow.c), while the
 * writer goes on, dies, and the next daemon cuts the log and goes on in another generation, and while old files are recycled.
 *
 * Unit u of the log ends epoch u. It holds the second part of epoch u (and the first as well, when it is the first unit of its generation) and the
 * first part of epoch u + 1, which the generation's end may leave unfinished: then the next generation writes the epoch anew.
 * Writer: write a unit, later call it durable. Death: the next daemon cuts somewhere from the durable unit on, stores its generation, makes the
 * header that says where it cut, writes units. Follower: durable unit, then generation; if that is the one it reads in, up to the durable
 * unit; else up to the cut, and on in the next generation.
 *
 * Asserted: epoch after epoch is handed out, none twice, each with its two parts; all of it is what the log holds in the end.
 *
 * @short -DUNITS=4 -DDEATHS=1
 * @full -DUNITS=5 -DDEATHS=2
 * @mutant M_GENERATION_FIRST  the follower reads the generation before the durable unit
 * @mutant M_NO_GENERATION     it reads on in the old file as long as the chain is right
 * @mutant M_STORE_LATE        the daemon stores its generation after it has called a unit durable
 * @mutant M_UNDURABLE         it hands out what is written, not what is durable
 * @mutant M_NO_CHECK          it takes what a recycled file holds now (gap)
 * @mutant M_KEEP_UNFINISHED   it keeps the beginning of an epoch that its generation did not end (double)
 * @mutant M_SKIP_CUT          it goes to the next generation before it has read up to the cut (gap)
 */
#define GENERATIONS (DEATHS + 1)

byte written = 0, durable = 0;         /* units of the newest generation, and what the region says */
byte generation = 1;                   /* as the region says */
byte header = 1;                       /* newest generation whose first file is there */
byte cut[GENERATIONS + 1];             /* of a generation: the last unit of its predecessor that counts */
byte life = 1;                         /* the daemon that is alive */
byte recycled = 0;                     /* units up to it may have been overwritten */
byte handed = 0;                       /* epochs up to it were handed out */
byte from[UNITS + 2];                  /* generation that a handed-out epoch's last unit was of */
bool lost = false;

/* Generation whose unit `u` counts in the log as it is now. */
inline owner(u, g) {
	g = life;
	do
	:: g > 1 && u <= cut[g] -> g--
	:: else -> break
	od
}

proctype daemon() {
	byte n = 0;

	do
	:: written < UNITS -> written++
	:: atomic { durable < written -> durable++ }
	:: recycled + 1 < durable -> recycled++
	:: n < DEATHS ->
		/* the rest of the old daemon's writes is void; the cut is at the durable unit or any that landed behind it */
		atomic {
			n++;
			life++;
			cut[life] = durable;
			do
			:: cut[life] < written -> cut[life]++
			:: break
			od;
			written = cut[life]
		};
#ifndef M_STORE_LATE
		generation = life;
#endif
		header = life;
		durable = cut[life];
#ifdef M_STORE_LATE
		if
		:: written < UNITS -> written++; durable = written
		:: else
		fi;
		generation = life
#endif
	:: durable == UNITS && n == DEATHS -> break
	od
}

inline hand_out(u) {
	parts = parts + 1;
	if
	:: cut[mine] + 1 == u && mine > 1 -> parts = parts + 1 /* the first of its generation holds the whole epoch */
	:: else
	fi;
	assert(parts == 2);
	handed++;
	assert(handed == u);
	from[u] = mine;
	parts = 1 /* of the next epoch */
}

proctype follower() {
	byte up_to, g, mine = 1, unit = 0, parts = 1;

	do
	:: handed < UNITS && !lost ->
#ifdef M_GENERATION_FIRST
		g = generation;
		up_to = durable;
#else
		up_to = durable;
		g = generation;
#endif
#ifdef M_UNDURABLE
		up_to = written;
#endif
#ifdef M_NO_GENERATION
		g = mine;
#endif
		if
		:: g > mine && header > mine ->
#ifndef M_SKIP_CUT
			up_to = cut[mine + 1];
			if
			:: unit >= up_to ->
#endif
				mine++;
				unit = cut[mine];
#ifndef M_KEEP_UNFINISHED
				parts = 0
#endif
#ifndef M_SKIP_CUT
			:: else
			fi
#endif
		:: g > mine && header <= mine -> up_to = unit
		:: else
		fi;
		if
		:: unit < up_to && (g == mine || unit < cut[mine + 1]) ->
			atomic {
				if
				:: unit + 1 > recycled -> unit++; hand_out(unit)
#ifdef M_NO_CHECK
				:: else -> unit = unit + 2; hand_out(unit)
#else
				:: else -> lost = true
#endif
				fi
			}
		:: else
		fi
	:: else -> break
	od
}

init {
	byte u = 1, g;

	atomic { run daemon(); run follower() };
	_nr_pr == 1;
	do
	:: u <= handed ->
		owner(u, g);
		assert(from[u] == g);
		u++
	:: else -> break
	od
}
