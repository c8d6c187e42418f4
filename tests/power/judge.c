/*
 * judge.c - does a recovered store hold what it must?
 *
 *   power judge SEED ACKED0,ACKED1,...  < output of `ppdb scan`
 *
 * For each writer there must be a number of steps n, at least those acknowledged, such that the store holds exactly what the first n
 * steps leave: so nothing acknowledged is lost, nothing is half there, and what is there is a prefix. And no value may have seen
 * a step of another writer that is not there: so the prefixes are one causally closed cut.
 * Prints n of each writer, comma between, exit 0; else a line for each thing that is wrong, exit 1.
 */
#include "tests/power/power.h"
#include "tests/power/steps.h"

#include <stdlib.h>
#include <string.h>

struct found {
	uint64_t step;                         /* 0: the key is absent */
	uint64_t seen[POWER_WRITERS];
	size_t size;
	uint64_t sum;
};

static struct found found[POWER_WRITERS][POWER_KEYS];
static unsigned wrong;

static uint64_t sum_of(const char *text, size_t size)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
	return h;
}

static void complain(const char *what, const char *line)
{
	wrong++;
	printf("%s: %.60s\n", what, line);
}

static void take(char *text)
{
	char *value = strchr(text, '\t');
	unsigned writer, key, by;
	unsigned long long n, s[POWER_WRITERS];
	struct found *f;

	if (!value || sscanf(text, "w%u/%u\t", &writer, &key) != 2 || writer >= POWER_WRITERS || key >= POWER_KEYS) {
		complain("a key that nobody wrote", text);
		return;
	}
	value++;
	if (sscanf(value, "%u %llu %llu %llu %llu %llu ", &by, &n, &s[0], &s[1], &s[2], &s[3]) != 6 || by != writer || !n) {
		complain("a value that nobody wrote", text);
		return;
	}
	f = &found[writer][key];
	f->step = n;
	f->size = strlen(value);
	f->sum = sum_of(value, f->size);
	for (unsigned w = 0; w < POWER_WRITERS; w++)
		f->seen[w] = s[w];
}

/* What step n put must be there to the byte. */
static void check_value(uint64_t seed, unsigned writer, unsigned key, const struct power_step *s)
{
	static char value[POWER_VALUE_MAX];
	const struct found *f = &found[writer][key];
	size_t size = power_value(value, seed, writer, f->step, s->letters, f->seen);

	if (size == f->size && sum_of(value, size) == f->sum)
		return;
	wrong++;
	printf("writer %u: the value of step %llu is not what was written: %zu bytes, expected %zu\n", writer,
		(unsigned long long)f->step, f->size, size);
}

/* The most steps that leave what the store holds; UINT64_MAX: there is no such number. */
static uint64_t steps_of(uint64_t seed, unsigned writer, uint64_t limit)
{
	struct power_model m = {{0}};
	uint64_t best = UINT64_MAX;
	unsigned differ = 0;

	for (unsigned k = 0; k < POWER_KEYS; k++)
		differ += found[writer][k].step != 0;
	best = differ ? best : 0;
	for (uint64_t n = 1; n <= limit; n++) {
		struct power_step s = power_step(seed, writer, n, &m);
		uint64_t there = found[writer][s.key].step;

		differ -= m.step[s.key] != there;
		power_apply(&m, &s, n);
		differ += m.step[s.key] != there;
		if (there == n)
			check_value(seed, writer, s.key, &s);
		best = differ ? best : n;
	}
	return best;
}

static uint64_t judge_writer(uint64_t seed, unsigned writer, uint64_t acked)
{
	uint64_t newest = 0, n;

	for (unsigned k = 0; k < POWER_KEYS; k++)
		newest = found[writer][k].step > newest ? found[writer][k].step : newest;
	/* unacknowledged steps behind the newest that shows: deletes, as far as one may run ahead */
	n = steps_of(seed, writer, (newest > acked ? newest : acked) + 2 * POWER_DURABLE_EVERY);
	if (n != UINT64_MAX && n >= acked)
		return n;
	wrong++;
	if (n == UINT64_MAX)
		printf("writer %u: no prefix of its steps leaves what is there (newest step %llu, %llu acknowledged)\n", writer,
			(unsigned long long)newest, (unsigned long long)acked);
	else
		printf("writer %u: LOST: %llu steps are there, %llu were acknowledged\n", writer, (unsigned long long)n,
			(unsigned long long)acked);
	return n;
}

static void judge_cut(const uint64_t *n)
{
	for (unsigned w = 0; w < POWER_WRITERS; w++)
		for (unsigned k = 0; k < POWER_KEYS; k++)
			for (unsigned v = 0; v < POWER_WRITERS; v++) {
				const struct found *f = &found[w][k];

				if (!f->step || f->seen[v] <= n[v])
					continue;
				wrong++;
				printf("step %llu of writer %u saw step %llu of writer %u, of which only %llu are there\n",
					(unsigned long long)f->step, w, (unsigned long long)f->seen[v], v, (unsigned long long)n[v]);
			}
}

int power_judge(int argc, char **argv)
{
	uint64_t seed, acked[POWER_WRITERS], n[POWER_WRITERS];
	char *text = NULL, *at;
	size_t cap = 0;
	ssize_t size;

	if (argc != 3)
		return 2;
	seed = strtoull(argv[1], NULL, 10);
	at = argv[2];
	for (unsigned w = 0; w < POWER_WRITERS; w++, at += *at == ',')
		acked[w] = strtoull(at, &at, 10);
	while ((size = getline(&text, &cap, stdin)) > 0) {
		if (text[size - 1] == '\n')
			text[size - 1] = '\0';
		take(text);
	}
	free(text);
	for (unsigned w = 0; w < POWER_WRITERS; w++)
		n[w] = judge_writer(seed, w, acked[w]);
	if (!wrong)
		judge_cut(n);
	if (wrong)
		return 1;
	printf("%llu,%llu,%llu,%llu\n", (unsigned long long)n[0], (unsigned long long)n[1], (unsigned long long)n[2],
		(unsigned long long)n[3]);
	return 0;
}
