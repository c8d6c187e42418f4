/*
 * cmd_tune.h - what the files of `ppdb tune` share.
 *
 *   cmd_tune.c          options and the order of things
 *   cmd_tune_profile.c  what the data and its use are like: from a store that runs, or from options
 *   cmd_tune_try.c      one setting: a scratch daemon for each value, measured in turns, judged
 *   cmd_tune_write.c    the config with its reasons; JSON
 */
#ifndef PP_TOOLS_CMD_TUNE_H
#define PP_TOOLS_CMD_TUNE_H

#include "tools/cmd_bench.h"
#include "tools/cmd_scratch.h"
#include "tools/text_json.h"

#define PP_TUNE_KNOBS 12
#define PP_TUNE_VALUES 6
#define PP_TUNE_ROUNDS 15
#define PP_TUNE_LEAST 0.03             /* differences below 3 % are not worth another value than the default */

struct pp_tune_profile {
	bool store;                    /* from a store that runs */
	uint64_t keys, sampled, memory, backed;
	size_t key_bytes, value_bytes; /* averages */
	unsigned reads, writes, scans; /* percent */
	unsigned clients;
	unsigned slots, slots_used;
};

/* How a setting is measured. */
enum pp_tune_load { PP_TUNE_READS, PP_TUNE_MIX, PP_TUNE_HOT, PP_TUNE_DURABLE, PP_TUNE_LOADS };
static inline bool pp_tune_by_cpu(enum pp_tune_load load)
{
	return load == PP_TUNE_READS || load == PP_TUNE_MIX;
}
extern const char *const pp_tune_load_names[PP_TUNE_LOADS], *const pp_tune_load_abouts[PP_TUNE_LOADS];

struct pp_tune_trial {
	const char *value;
	bool ran;
	char why_not[200];
	double rate[PP_TUNE_ROUNDS], median;
	struct pp_verdict verdict;     /* against the default */
	struct pp_scratch scratch;
	char arena[256];               /* of pages = hugetlb: a file on hugetlbfs; "" = in the usual place */
};

struct pp_tune_knob {
	const char *name;              /* of ppdbd's option */
	enum pp_tune_load load;
	const char *only_if;           /* "name value": measured only when that was chosen; NULL = always */
	const char *about;
	unsigned values, chosen;       /* trial[0] is the default */
	struct pp_tune_trial trial[PP_TUNE_VALUES];
	struct pp_tune_trial twin;     /* the default on a second daemon: what differs between the two is noise for all */
	bool done, left_out;           /* measured; not to be (--only) */
};

struct pp_tune {
	const struct pp_cmd *c;
	struct pp_tune_profile p;
	const char *data_dir;
	uint64_t memory, keys;         /* --memory, 0 = not given; keys that are measured with */
	bool quick;
	unsigned rounds;
	double seconds;                /* of a run */
	unsigned cores;
	struct pp_bench_workload mix;
	struct pp_tune_knob knob[PP_TUNE_KNOBS];
	unsigned knobs;
	struct pp_verdict all[PP_TUNE_LOADS]; /* of the whole config against the defaults; ratio 0: not measured */
	double took;
};

/* Fills in what options left open. 0, or an exit code after a message. */
int pp_tune_profile(struct pp_tune *, bool must_run);

/* ---- cmd_tune_try.c ---- */

/* Measures one setting and chooses. 0, or an exit code. */
int pp_tune_try(struct pp_tune *, struct pp_tune_knob *);
/* Proves that ppdbd takes the config (`path`), and measures it against the defaults if it says anything else: fills all[]. */
int pp_tune_prove(struct pp_tune *, const char *path);
/* The value that counts for an option of ppdbd by now. */
const char *pp_tune_value(const struct pp_tune *, const char *name);
unsigned pp_tune_workers(const struct pp_tune *, enum pp_tune_load);

/* ---- cmd_tune_write.c ---- */

void pp_tune_config(const struct pp_tune *, FILE *);
void pp_tune_json(const struct pp_tune *, FILE *);

#endif
