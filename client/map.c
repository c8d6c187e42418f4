/*
 * map.c - one mapped arena of a handle: made when the daemon hands out a descriptor, gone with its last session.
 *
 * The handle holds one reference on its current mapping, each session one on the mapping that its slot is in. References are taken
 * under ppdb.lock only, where the handle's own keeps the count above zero, so the last put can unmap without a lock.
 * Nothing here writes shared memory. A process that dies leaves only its record, which the daemon takes back.
 */
#include "client/internal.h"

#include <sys/mman.h>

static int map_control(struct pp_mapping *m, int fd, uint32_t slots)
{
	void *p;

	if (slots == 0 || slots > PP_CONTROL_SLOTS_MAX || !pp_control_sealed(fd, slots))
		return pp_detail(-EBADMSG, "ppdbd sent a control region that is not sealed or of a wrong size");
	m->control_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (m->control_fd < 0)
		return pp_detail(-errno, "cannot keep the control region: %s", strerror(errno));
	m->control_bytes = pp_control_bytes(slots);
	p = mmap(NULL, m->control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return pp_detail(-errno, "cannot map the control region: %s", strerror(errno));
	m->control = p;
	if (m->control->magic != PP_MAGIC || m->control->slot_bytes != sizeof(struct pp_slot) ||
		m->control->count != slots)
		return pp_detail(PPDB_LAYOUT, "the control region has another layout");
	return 0;
}

static void release(struct pp_mapping *m)
{
	if (m->region.base)
		pp_region_unmap(&m->region);
	if (m->control)
		munmap(m->control, m->control_bytes);
	if (m->control_fd >= 0)
		close(m->control_fd);
	free(m);
}

int pp_mapping_new(int fd, int control_fd, uint32_t control_slots, bool readonly, bool fill, struct pp_mapping **out)
{
	struct pp_mapping *m = calloc(1, sizeof(*m));
	struct stat st;
	int rc;

	if (!m)
		return pp_detail(-ENOMEM, "out of memory");
	m->control_fd = -1;
	pp_store_rlx(&m->refs, 1); /* owner: not shared yet */
	rc = pp_region_map(fd, readonly, pp_layout_hash_engine(), &m->region);
	if (rc)
		m->region.base = NULL;
	else if (fstat(fd, &st))
		rc = pp_detail(-errno, "cannot look at the arena: %s", strerror(errno));
	if (!rc && readonly)
		rc = map_control(m, control_fd, control_slots);
	if (rc) {
		release(m);
		return rc;
	}
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	pp_barrier_register();
	if (fill)
		pp_region_populate(&m->region); /* a hint: a kernel without it fills the tables at the first touches */
	*out = m;
	return 0;
}

void pp_mapping_put(struct pp_mapping *m)
{
	if (pp_sub_acqrel(&m->refs, 1) == 1)
		release(m);
}
