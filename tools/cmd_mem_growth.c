/*
 * cmd_mem_growth.c - `ppdb mem --interval`: how fast what is live grows, and when the arena would be full.
 */
#include "tools/cmd_mem.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>

struct sample {
	uint64_t ns, live, keys;
};

/* Seconds until what is left is used up at this rate; < 0: it does not grow. */
static double full_in(const struct pp_region *r, uint64_t live, double rate)
{
	uint64_t room = r->fixed.memory_max - r->segments_at;

	return rate <= 0 ? -1 : live >= room ? 0 : (double)(room - live) / rate;
}

static void print_line(const struct pp_region *r, const struct pp_mem *m, const struct sample *s, double seconds, double rate, double keys)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER], e[PP_TEXT_NUMBER];
	double full = full_in(r, s->live, rate);

	printf("%8.0f %12s %12s %12s %12" PRIu64 " %s%11s/s %11.0f/s %s\n", seconds, pp_text_bytes(a, (double)m->account.committed_bytes),
		pp_text_bytes(b, (double)s->live), pp_text_bytes(c, (double)m->account.limbo_bytes), s->keys, rate < 0 ? "-" : " ",
		pp_text_bytes(d, rate < 0 ? -rate : rate), keys, full < 0 ? "-" : pp_text_seconds(e, full));
}

static void json_line(const struct pp_region *r, const struct pp_mem *m, const struct sample *s, double seconds, double rate, double keys)
{
	struct pp_json j = {.out = stdout};

	pp_json_open(&j, NULL, '{');
	pp_json_real(&j, "seconds", seconds);
	pp_json_u64(&j, "committed_bytes", m->account.committed_bytes);
	pp_json_u64(&j, "live_bytes", s->live);
	pp_json_u64(&j, "limbo_bytes", m->account.limbo_bytes);
	pp_json_u64(&j, "keys", s->keys);
	pp_json_real(&j, "live_bytes_per_second", rate);
	pp_json_real(&j, "keys_per_second", keys);
	if (full_in(r, s->live, rate) >= 0)
		pp_json_real(&j, "full_in_seconds", full_in(r, s->live, rate));
	pp_json_close(&j, '}');
}

int pp_mem_growth(const struct pp_cmd *c, struct pp_region *r, uint64_t interval_s, uint64_t count)
{
	struct timespec nap = pp_timespec(interval_s * PP_NS_PER_SEC);
	static struct pp_mem m;
	struct sample first = {0}, last, now;

	if (!c->json)
		printf("%8s %12s %12s %12s %12s %14s %13s %s\n", "seconds", "backed", "live", "in limbo", "keys", "live", "keys", "full in");
	for (uint64_t n = 0; !count || n <= count; n++, last = now) {
		int rc = pp_mem_count(r, &m);
		double seconds;

		if (rc)
			return pp_cmd_fail(c, rc, NULL);
		now = (struct sample){pp_now_ns(), pp_mem_live(&m), pp_mem_keys(&m)};
		if (!n) {
			first = now;
		} else {
			seconds = (double)(now.ns - last.ns) / 1e9;
			(c->json ? json_line : print_line)(r, &m, &now, (double)(now.ns - first.ns) / 1e9,
				((double)now.live - (double)last.live) / seconds, ((double)now.keys - (double)last.keys) / seconds);
			if (fflush(stdout))
				break;
		}
		if (n < count || !count)
			nanosleep(&nap, NULL);
	}
	return PP_EXIT_OK;
}
