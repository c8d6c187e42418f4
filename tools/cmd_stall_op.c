/*
 * cmd_stall_op.c - how far an operation has come, read from what it has left in shared memory (see cmd_stall.h).
 *
 * The words that a reaper would go by tell it: the slot names the undecided version or batch (engine/install.h), the version's block says
 * whether it was linked, its state whether it is decided, the slot's ring whether it is in the log. Nothing is written for this on the
 * way, so that it costs writers nothing and works in every build. What is read may change meanwhile: each reference is judged before it is followed.
 */
#include "tools/cmd_stall.h"
#include "tools/text_escape.h"

#include <ctype.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#define KEY_SHOWN 40

static const void *judged(const struct pp_region *r, pp_ref ref, uint64_t bytes)
{
	return pp_ref_inside(r, ref, bytes) ? r->base + ref : NULL;
}

/* The key cell of a version whose block is `block`: the block itself, or the cell that it names. */
static const struct pp_cell *cell_of(const struct pp_region *r, pp_ref block, unsigned kind)
{
	const struct pp_version_block *b;
	const struct pp_cell *c;
	pp_ref cell = block;

	if (kind == PP_KIND_VERSION) {
		b = judged(r, block, sizeof(*b));
		cell = b ? pp_link_ref(b->cell) : 0;
	} else if (kind != PP_KIND_CELL) {
		return NULL;
	}
	c = judged(r, cell, sizeof(*c));
	return c && c->key_size <= PP_KEY_MAX && judged(r, cell, sizeof(*c) + c->key_size) ? c : NULL;
}

#define NAME_SIZE (4 * KEY_SHOWN + 32)
static void name_key(const struct pp_cell *c, char text[NAME_SIZE])
{
	char key[4 * KEY_SHOWN + 1];
	size_t n = c->key_size < KEY_SHOWN ? c->key_size : KEY_SHOWN;
	uint32_t table = be32toh(c->table_be);

	key[pp_text_escape(key, c->key, n)] = '\0';
	n = (size_t)snprintf(text, NAME_SIZE, "\"%s%s\"", key, n < c->key_size ? "..." : "");
	if (table)
		snprintf(text + n, NAME_SIZE - n, " of table %" PRIu32, table);
}

static bool in_ring(const struct pp_region *r, const struct pp_slot *s, const struct pp_stall_look *l)
{
	const struct pp_ring_entry *ring = pp_ring(r, (unsigned)(s - r->slots));
	uint16_t first = (uint16_t)l->head, used = (uint16_t)(pp_tail_index(l->tail) - first);

	for (uint16_t i = 0; i < used && used <= r->fixed.ring_entries; i++)
		if (pp_load_rlx(&ring[(uint16_t)(first + i) & (r->fixed.ring_entries - 1)].ref) == l->op) /* stat */
			return true;
	return false;
}

static const char *how_far(const struct pp_region *r, const struct pp_slot *s, const struct pp_stall_look *l, uint64_t state, bool linked)
{
	switch (pp_state_status(state)) {
	case PP_COMMITTED:
		return "done, and about to return";
	case PP_ABORTED:
		return "undone by another, about to begin again";
	default:
		if (!linked)
			return "being made, or just being put into its place";
		return in_ring(r, s, l) ? "in the log ring, to be committed by whoever comes first" : "in the key's chain, not in the log ring yet";
	}
}

static void batch_phase(const struct pp_region *r, const struct pp_slot *s, const struct pp_stall_look *l, char *text)
{
	const struct pp_batch *b = judged(r, l->op & ~PP_ENTRY_BATCH, sizeof(*b));
	uint64_t state = b ? pp_load_rlx(&b->state) : 0; /* stat */
	const char *far = "putting its versions on their keys";

	if (!b)
		return;
	if (pp_state_status(state) != PP_PENDING || state == PP_BATCH_READY)
		far = how_far(r, s, l, state, true);
	snprintf(text, PP_STALL_PHASE, "a batch (%" PRIu64 " of %" PRIu64 " versions made): %s", pp_load_rlx(&b->count), b->room, far); /* stat */
}

const char *pp_stall_phase(const struct pp_region *r, const struct pp_slot *s, const struct pp_stall_look *l, char text[PP_STALL_PHASE])
{
	pp_ref block = pp_link_ref(l->block);
	const struct pp_block *head = judged(r, block, 1) ? pp_block_at(r, block) : NULL;
	const struct pp_version *v = judged(r, l->op & ~PP_ENTRY_BATCH, sizeof(*v));
	uint64_t word = head ? pp_load_rlx(&head->word) : 0; /* stat */
	const struct pp_cell *c;
	char key[NAME_SIZE] = "a key";

	snprintf(text, PP_STALL_PHASE, "%s", l->op & PP_ENTRY_BATCH ? "a batch" : "a write");
	if (!v || !head)
		return text;
	if (l->op & PP_ENTRY_BATCH) {
		batch_phase(r, s, l, text);
		return text;
	}
	c = cell_of(r, block, pp_block_kind(word));
	if (c)
		name_key(c, key);
	snprintf(text, PP_STALL_PHASE, "a write to %s: %s", key,
		 how_far(r, s, l, pp_load_rlx(&v->state), pp_block_state(word) != PP_BLOCK_PRIVATE)); /* stat */
	return text;
}

void pp_stall_kernel(uint32_t pid, uint32_t tid, char *text, size_t cap)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/task/%" PRIu32 "/wchan", pid, tid);
	text[0] = '\0';
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(text, (int)cap, f) || !isalpha((unsigned char)text[0]))
		text[0] = '\0';
	fclose(f);
}
