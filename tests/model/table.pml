/*
 * table: a named table's record in the catalog and the line of the directory that its number owns (engine/table.c, catalog.c).
 *
 * One name, one line: all numbers meet on it, so each creation after a drop uses it again. A creator takes a number from the counter, claims the line,
 * FREE -> FILLING, stores the quota, puts the record, opens the line; who finds a record still FILLING opens it. A dropper deletes the record, then
 * OPEN -> DROPPED. Each of these is one read section, and so is a write, which looks at the line and changes a key later. The keeper compares: the line
 * first, then the catalog; it opens, drops and frees what those who died left, and empties a dropped table; FREE needs that no section is left
 * from before the state was seen, and for a dropped one a walk after that which meets no key. A reaper ends the section of who died. The
 * keeper may be another one after each of its rounds, which knows nothing of what was seen. Changes of the catalog are one step each, as every write is.
 *
 * Asserted: a record owns its line from its first moment; a write that finds the table open finds its quota; after a drop has returned nobody begins
 * to use the number; no key is written for a number whose line went back; who creates makes one record at most; at the end line and record agree, no key of
 * a dropped table is left.
 *
 * @short -DCREATORS=2 -DDROPPERS=1 -DWRITERS=0 -DTURNS=1 -DDEATHS=1 -DRESTARTS=0
 * @extra -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=2 -DDEATHS=1 -DRESTARTS=0
 * @extra -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=1 -DDEATHS=1 -DRESTARTS=1
 * @full -DCREATORS=2 -DDROPPERS=1 -DWRITERS=1 -DTURNS=1 -DDEATHS=1 -DRESTARTS=1
 * @mutant M_FILLING_FREED  the line of a creator that is slow is freed
 * @mutant M_DROPPED_FREED -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=2 -DDEATHS=1 -DRESTARTS=0 a line is freed while a writer may stand in its write
 * @mutant M_RECORD_FIRST   the record is there before the line is claimed
 * @mutant M_QUOTA_LATE -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=2 -DDEATHS=1 -DRESTARTS=0 the quota is stored when the record is there
 * @mutant M_OPEN_AT_ONCE   a claimed line is OPEN before there is a record
 * @mutant M_LINE_LATE      the keeper looks at the line after its walk through the catalog
 * @mutant M_OPEN_BLINDLY -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=2 -DDEATHS=1 -DRESTARTS=0 who finds a record opens the line whatever it says
 * @mutant M_LINE_FIRST     the line is dropped before the record is deleted
 * @mutant M_LINE_STAYS -DCREATORS=1 -DDROPPERS=1 -DWRITERS=1 -DTURNS=2 -DDEATHS=1 -DRESTARTS=0 a drop leaves the line to the keeper
 * @mutant M_LINE_USED      a creator takes the line although another number has it
 */
#define FREE 0
#define FILLING 1
#define OPEN 2
#define DROPPED 3
#define CLIENTS (CREATORS + DROPPERS + WRITERS)
#define IDS 4

byte counter = 1;
byte record = 0;                 /* number of the table, 0 = there is none */
byte state = FREE, owner = 0;    /* the line's word */
byte quota = 0;
bool key[IDS], freed[IDS], dropped[IDS];
byte inside = 0;                 /* sections, a bit each */
byte deaths = DEATHS, finished = 0;
/* the keeper's, changed by who leaves a section: those that were inside when it saw the line like this */
byte known_state = FREE, known_owner = 0, known_inside = 0;

#define enter_section() inside = inside | (1 << me)
#define leave_section() inside = inside & (255 - (1 << me)); known_inside = known_inside & (255 - (1 << me))
#define MAY_DIE \
	if \
	:: deaths > 0 -> deaths--; goto out \
	:: true \
	fi

/* FILLING -> OPEN by whoever finds the record; `ok`: it is open. A creator does not look at that: it made the table, whoever has dropped it since. */
inline open_line(id) {
#ifdef M_OPEN_BLINDLY
	d_step { state = OPEN; owner = id; ok = true }
#else
	d_step {
		if
		:: owner == id && state == FILLING -> state = OPEN; ok = true
		:: else -> ok = (owner == id && state == OPEN)
		fi
	}
#endif
}

proctype creator(byte me) {
	byte id, made = 0, turns = TURNS;
	bool ok, seen;

begin:
	atomic { enter_section(); made = 0 };
again:
	atomic { MAY_DIE; id = record };
	if
	:: id != 0 ->
		open_line(id);
		if
		:: ok -> goto out
		:: else -> goto again
		fi
	:: else
	fi;
	/* a number, and its line */
	atomic { MAY_DIE; id = counter; seen = (state == FREE && owner < id) };
	if
#ifndef M_LINE_USED
	:: !seen -> goto out         /* all lines are in use: PPDB_FULL */
#endif
	:: id == IDS -> goto out
	:: else
	fi;
	atomic {
		MAY_DIE;
		if
		:: counter == id -> counter++
		:: else -> goto again
		fi
	};
#ifdef M_RECORD_FIRST
	atomic {
		if
		:: record == 0 -> record = id
		:: else -> goto again
		fi
	};
#endif
	atomic {
		MAY_DIE;
		if
#ifdef M_LINE_USED
		:: true ->
#else
		:: state == FREE && owner < id ->
#endif
			owner = id;
#ifdef M_OPEN_AT_ONCE
			state = OPEN
#else
			state = FILLING
#endif
		:: else -> goto again
		fi
	};
#ifndef M_QUOTA_LATE
	quota = id;
#endif
#ifndef M_RECORD_FIRST
	atomic {
		MAY_DIE;
		if
		:: record == 0 ->
			record = id;
			made++;
			assert(made == 1);
			assert(owner == id && (state == FILLING || state == OPEN))
		:: else ->
			if
			:: owner == id && state == FILLING -> state = FREE
			:: else
			fi;
			goto again
		fi
	};
#endif
#ifdef M_QUOTA_LATE
	quota = id;
#endif
	MAY_DIE;
	open_line(id);
out:
	atomic {
		leave_section();
		turns--;
		id = 0;
		if
		:: turns > 0 -> goto begin
		:: else -> finished++
		fi
	}
}

proctype dropper(byte me) {
	byte id;

	atomic { enter_section() };
again:
	id = record;
	if
	:: id == 0 -> goto out
	:: else
	fi;
#ifdef M_LINE_FIRST
	atomic {
		MAY_DIE;
		if
		:: owner == id && (state == OPEN || state == FILLING) -> state = DROPPED
		:: else
		fi
	};
#endif
	atomic {
		MAY_DIE;
		if
		:: record == id -> record = 0
		:: else -> goto again
		fi
	};
#ifndef M_LINE_STAYS
	atomic {
		MAY_DIE;
		if
		:: owner == id && (state == OPEN || state == FILLING) -> state = DROPPED
		:: else
		fi
	};
#endif
	dropped[id] = true;          /* it has returned */
out:
	atomic { leave_section(); finished++ }
}

/* Some number that it was told once, and one write. */
proctype writer(byte me) {
	byte id;
	bool late;

	atomic { record != 0 || finished >= CLIENTS - 1 -> id = record };
	if
	:: id == 0 -> goto out
	:: else
	fi;
	atomic { enter_section(); late = dropped[id] };
	if
	:: state == OPEN && owner == id
	:: else -> goto out
	fi;
	assert(!late);
	MAY_DIE;
	assert(quota == id);
	atomic { MAY_DIE; assert(!freed[id]); key[id] = true };
out:
	atomic { leave_section(); finished++ }
}

inline know() {
	if
	:: known_state == state && known_owner == owner
	:: else -> known_state = state; known_owner = owner; known_inside = inside
	fi
}

#define QUIET (known_state == state && known_owner == owner && known_inside == 0)

proctype keeper() {
	byte before, before_id, id, restarts = RESTARTS;
	bool quiet, last, met, end;

	do
	:: finished == CLIENTS && end -> break
	:: else ->
		end = (finished == CLIENTS);
		/* compare */
#ifndef M_LINE_LATE
		d_step {
			before = state;
			before_id = owner;
			quiet = QUIET;
			if
			:: state == FILLING || state == DROPPED -> know()
			:: else
			fi
		};
#endif
		id = record;
#ifdef M_LINE_LATE
		d_step {
			before = state;
			before_id = owner;
			quiet = QUIET;
			if
			:: state == FILLING || state == DROPPED -> know()
			:: else
			fi
		};
#endif
		d_step {
			if
			:: id != 0 && owner == id && state == FILLING -> state = OPEN
			:: else
			fi
		};
		if
		:: id == 0 || id != before_id ->
			d_step {
				if
				:: before == OPEN && state == OPEN && owner == before_id -> state = DROPPED
#ifdef M_FILLING_FREED
				:: before == FILLING && state == FILLING && owner == before_id -> state = FREE
#else
				:: before == FILLING && quiet && state == FILLING && owner == before_id -> state = FREE
#endif
				:: else
				fi
			}
		:: else
		fi;
		/* a dropped table */
		d_step {
			if
			:: state == DROPPED -> know()
			:: else
			fi;
#ifdef M_DROPPED_FREED
			last = (state == DROPPED);
#else
			last = (state == DROPPED && QUIET);
#endif
			id = owner
		};
		if
		:: state == DROPPED ->
			d_step { met = key[id]; key[id] = false };
			if
			:: last && !met -> d_step { state = FREE; freed[id] = true }
			:: else
			fi
		:: else
		fi;
		if
		:: restarts > 0 -> d_step { restarts--; known_state = FREE; known_owner = 0; known_inside = 0 }
		:: true
		fi;
		d_step {
			end = end && (state == OPEN || state == FREE) && (record == 0 -> state == FREE : true);
			before = 0; before_id = 0; id = 0; quiet = false; last = false; met = false
		}
	od;
	assert(record == 0 -> state == FREE : (state == OPEN && owner == record));
	id = 1;
	do
	:: id < IDS -> assert(!key[id] || id == record); id++
	:: else -> break
	od
}

init {
	byte k = 0;

	atomic {
		do
		:: k < CREATORS -> run creator(k); k++
		:: k >= CREATORS && k < CREATORS + DROPPERS -> run dropper(k); k++
		:: k >= CREATORS + DROPPERS && k < CLIENTS -> run writer(k); k++
		:: else -> break
		od;
		run keeper()
	}
}
