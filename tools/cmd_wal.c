/*
 * cmd_wal.c - `ppdb wal DIR|FILE`: prints the segments and units of a log. Needs no daemon and changes nothing; damage is shown
 * where it is, and the command then ends with 4.
 */
#include "engine/wal.h"
#include "tools/cmd.h"
#include "tools/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct printer {
	const struct pp_cmd *c;
	uint64_t segments, units, records, bad;
};

static void print_json(const struct pp_wal_dump_item *i)
{
	struct pp_json j = {.out = stdout};

	pp_json_open(&j, NULL, '{');
	pp_json_text(&j, "type", i->is_segment ? "segment" : i->marker ? "marker" : "unit");
	pp_json_text(&j, "file", i->file);
	pp_json_u64(&j, "offset", i->offset);
	pp_json_u64(&j, "generation", i->generation);
	pp_json_u64(&j, "segment", i->segment);
	pp_json_u64(&j, "unit", i->unit);
	pp_json_u64(&j, "base_epoch", i->base_epoch);
	pp_json_u64(&j, "ended_epoch", i->ended_epoch);
	pp_json_u64(&j, "first_epoch", i->first_epoch);
	pp_json_u64(&j, "last_epoch", i->last_epoch);
	pp_json_u64(&j, "durable_unit", i->durable_unit);
	pp_json_u64(&j, "bytes", i->bytes);
	pp_json_u64(&j, "payload_bytes", i->payload_bytes);
	pp_json_u64(&j, "records", i->records);
	if (i->bad)
		pp_json_text(&j, "bad", i->bad);
	pp_json_close(&j, '}');
}

static void print_text(const struct pp_wal_dump_item *i)
{
	if (i->bad) {
		printf("BAD      %s offset %" PRIu64 ", %" PRIu64 " bytes: %s\n", i->file, i->offset, i->bytes, i->bad);
		return;
	}
	if (i->is_segment) {
		printf("segment  %s generation %" PRIu64 ", follows unit %" PRIu64 ", epochs up to %" PRIu64 "\n", i->file,
			i->generation, i->unit, i->base_epoch);
		return;
	}
	printf("%-8s %" PRIu64 " offset %" PRIu64 ", %" PRIu64 " bytes", i->marker ? "marker" : "unit", i->unit, i->offset, i->bytes);
	if (i->records)
		printf(", %" PRIu64 " records of epochs %" PRIu64 "-%" PRIu64, i->records, i->first_epoch, i->last_epoch);
	printf(", ended %" PRIu64 ", durable was unit %" PRIu64 "\n", i->ended_epoch, i->durable_unit);
}

static int print_item(void *ctx, const struct pp_wal_dump_item *i)
{
	struct printer *p = ctx;

	if (i->bad)
		p->bad++;
	else if (i->is_segment)
		p->segments++;
	else
		p->units++;
	p->records += i->bad ? 0 : i->records;
	if (p->c->json)
		print_json(i);
	else
		print_text(i);
	return ferror(stdout);
}

int pp_cmd_wal(struct pp_cmd *c, int argc, char **argv)
{
	struct printer p = {.c = c};
	int rc;

	if (pp_cmd_options(c, argc, argv, NULL, 1, 1) < 0)
		return PP_EXIT_USAGE;
	rc = pp_wal_dump(argv[1], print_item, &p);
	if (rc < 0)
		return pp_cmd_fail(c, rc, argv[1]);
	if (!c->json)
		printf("%" PRIu64 " segments, %" PRIu64 " units, %" PRIu64 " records, %" PRIu64 " bad places\n", p.segments, p.units,
			p.records, p.bad);
	return p.bad ? PP_EXIT_ERROR : PP_EXIT_OK;
}
