/*
 * daemon_clients.c - the processes that are attached: their record in the region, their pidfd, a reader's control region.
 *
 * A process is dead when its pidfd says so (or pid and start time, where there is none); a hang-up of its socket only makes us
 * look. A live process without a socket keeps its record and slots: the program may have closed the descriptor, and its next
 * attach message names the record again. After a warm start the records are in the region and are watched again; a read-only
 * client then sends its control memfd back, which is believed only if device, inode, size and seals are those we recorded.
 *
 * The keeper reads control regions until their record is free, so a dead reader's stays mapped until then (`dying`).
 * A daemon that dies leaves the records; the next one starts from them.
 */
#include "tools/daemon.h"

#include "shm/live.h"

#include <stdlib.h>
#include <sys/mman.h>

struct dying {
	struct dying *next;
	uint32_t proc;
	uint64_t generation;
	struct pp_control *control;
	uint64_t bytes;
};

/* ---- watching */

static uint64_t generation_of(struct pp_daemon *d, uint32_t proc)
{
	return pp_load_acq(&pp_daemon_region(d)->procs[proc].state);
}

static int watch(struct pp_daemon *d, uint32_t proc, pid_t pid, uid_t uid, bool readonly, int pidfd)
{
	struct pp_watch *w = &d->watch[proc];

	memset(w, 0, sizeof(*w));
	w->proc = proc;
	w->used = true;
	w->readonly = readonly;
	w->pid = pid;
	w->uid = uid;
	w->pidfd = pidfd;
	w->generation = generation_of(d, proc);
	d->watches++;
	if (pidfd >= 0 && pp_event_add(d, pidfd, PP_EVENT_PIDFD, proc)) {
		close(pidfd);
		w->pidfd = -1; /* watched by pid and start time then */
	}
	return 0;
}

static void found(void *ctx, uint32_t proc, const struct pp_proc *p)
{
	struct pp_daemon *d = ctx;
	uint32_t flags = pp_load_rlx(&p->flags); /* owner: the daemon writes records */
	pid_t pid = (pid_t)pp_load_rlx(&p->pid);
	int pidfd;

	if (flags & PP_PROC_DAEMON || proc >= pp_daemon_region(d)->fixed.procs)
		return;
	/* [clients.found:left] pairs [client.close:left]: its slots are given back; our predecessor died before it heard of it */
	if (pp_load_acq(&p->left) == (uint32_t)pp_load_acq(&p->state)) {
		pp_keeper_proc_gone(d->work.keeper, proc);
		return;
	}
	pidfd = pp_pidfd_open(pid, pp_load_rlx(&p->start));
	if (pidfd == -ESRCH) {
		pp_keeper_proc_gone(d->work.keeper, proc);
		return;
	}
	watch(d, proc, pid, pp_load_rlx(&p->uid), flags & PP_PROC_READONLY, pidfd < 0 ? -1 : pidfd);
}

int pp_clients_init(struct pp_daemon *d)
{
	d->watch = calloc(pp_daemon_region(d)->fixed.procs, sizeof(*d->watch));
	if (!d->watch)
		return pp_detail(-ENOMEM, "out of memory");
	pp_keeper_procs(d->work.keeper, found, d);
	return 0;
}

static void bury(struct pp_daemon *d, struct pp_watch *w)
{
	struct dying *b = w->control ? calloc(1, sizeof(*b)) : NULL;

	if (b) { /* without memory for the note the mapping simply stays */
		*b = (struct dying){ d->dying, w->proc, w->generation, w->control, w->control_bytes };
		d->dying = b;
	}
	if (w->pidfd >= 0) {
		/* by hand: the connection's duplicate would keep it registered */
		epoll_ctl(d->epoll, EPOLL_CTL_DEL, w->pidfd, NULL);
		close(w->pidfd);
	}
	w->used = false;
	w->pidfd = -1;
	w->control = NULL;
	d->watches--;
}

void pp_clients_died(struct pp_daemon *d, uint32_t proc)
{
	struct pp_watch *w = &d->watch[proc];
	struct pp_conn *c, *next;

	if (!w->used)
		return;
	pp_keeper_proc_gone(d->work.keeper, proc);
	bury(d, w);
	for (c = d->conns; c; c = next) {
		next = c->next;
		if (c->proc == proc || c->bell_proc == proc) { /* a bell looks into the reader's control region */
			c->proc = PP_PROC_NONE;
			pp_conn_close(d, c);
		}
	}
}

static bool dead(struct pp_daemon *d, struct pp_watch *w)
{
	if (w->pidfd >= 0)
		return pp_pidfd_dead(w->pidfd);
	return !pp_proc_alive(w->pid, pp_load_rlx(&pp_daemon_region(d)->procs[w->proc].start)); /* owner */
}

void pp_clients_check(struct pp_daemon *d, uint32_t proc)
{
	if (d->watch[proc].used && dead(d, &d->watch[proc]))
		pp_clients_died(d, proc);
}

/* A read-only record from before our start whose client has not reconnected: it holds everything, so find out whether it is still there. */
static void check_silent_reader(struct pp_daemon *d, uint32_t proc)
{
	struct pp_proc *p = &pp_daemon_region(d)->procs[proc];

	if (pp_maps_unmapped(d->watch[proc].pid, pp_load_acq(&p->control_dev), pp_load_acq(&p->control_ino)))
		pp_clients_died(d, proc);
}

void pp_clients_reap(struct pp_daemon *d)
{
	uint32_t procs = pp_daemon_region(d)->fixed.procs;

	for (uint32_t i = 0; i < procs; i++) {
		if (d->watch[i].used && d->watch[i].pidfd < 0)
			pp_clients_check(d, i);
		if (d->watch[i].used && d->watch[i].readonly && !d->watch[i].control)
			check_silent_reader(d, i);
	}
	for (struct dying **at = &d->dying, *b; (b = *at);) {
		if (generation_of(d, b->proc) == b->generation) {
			at = &b->next;
			continue;
		}
		munmap(b->control, b->bytes);
		*at = b->next;
		free(b);
	}
}

void pp_clients_clear(struct pp_daemon *d)
{
	free(d->watch);
	d->watch = NULL;
}

/* ---- control regions of read-only clients */

static int control_map(struct pp_daemon *d, struct pp_watch *w, int fd, uint32_t slots)
{
	struct pp_proc *p = &pp_daemon_region(d)->procs[w->proc];
	struct stat st;
	void *at;
	int rc;

	if (fstat(fd, &st))
		return pp_detail(-errno, "control region: %s", strerror(errno));
	at = mmap(NULL, pp_control_bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return pp_detail(-errno, "control region: %s", strerror(errno));
	w->control = at;
	w->control_bytes = pp_control_bytes(slots);
	pp_store_rel(&p->control_dev, st.st_dev);
	pp_store_rel(&p->control_ino, st.st_ino);
	rc = pp_keeper_control_add(d->work.keeper, w->proc, pp_control_slots(w->control), slots);
	if (rc) {
		munmap(w->control, w->control_bytes);
		w->control = NULL;
	}
	return rc;
}

static int control_make(uint32_t slots, int *out)
{
	int fd = memfd_create("ppdb-control", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	struct pp_control *c;

	if (fd < 0)
		return pp_detail(-errno, "no control region: %s", strerror(errno));
	/* 0600 before anybody gets it: a memfd is born 0777, and another user could open it anew through /proc */
	if (fchmod(fd, 0600) || ftruncate(fd, (off_t)pp_control_bytes(slots)))
		goto fail;
	c = mmap(NULL, pp_control_bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED)
		goto fail;
	c->magic = PP_MAGIC;
	c->count = slots;
	c->slot_bytes = sizeof(struct pp_slot);
	for (uint32_t i = 0; i < slots; i++)
		pp_store_rlx(&pp_control_slots(c)[i].low, PP_IDLE); /* owner: nobody else has it yet */
	munmap(c, pp_control_bytes(slots));
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto fail;
	*out = fd;
	return 0;
fail:
	err = errno;
	close(fd);
	return pp_detail(-err, "no control region: %s", strerror(err));
}

/* Is this the control region that the record names? Returns its slots, 0 = no. */
static uint32_t control_known(struct pp_daemon *d, uint32_t proc, int fd)
{
	struct pp_proc *p = &pp_daemon_region(d)->procs[proc];
	struct stat st;
	uint64_t slots;

	if (fd < 0 || fstat(fd, &st) || (uint64_t)st.st_size <= sizeof(struct pp_control))
		return 0;
	slots = ((uint64_t)st.st_size - sizeof(struct pp_control)) / sizeof(struct pp_slot);
	if (slots > PP_CONTROL_SLOTS_MAX || !pp_control_sealed(fd, (uint32_t)slots))
		return 0;
	if (pp_load_acq(&p->control_dev) != st.st_dev || pp_load_acq(&p->control_ino) != st.st_ino)
		return 0;
	return (uint32_t)slots;
}

/* ---- attach */

static int refuse_starting(struct pp_daemon *d)
{
	int rc;

	pthread_mutex_lock(&d->work.text_lock);
	rc = pp_detail(PPDB_DAEMON_GONE, "ppdbd '%s' is starting%s%s; try again a little later", d->set.name,
		d->work.progress[0] ? ": " : "", d->work.progress);
	pthread_mutex_unlock(&d->work.text_lock);
	return rc;
}

/* The client names a record that is its own: it goes on with it. */
static bool goes_on(struct pp_daemon *d, const struct pp_request *r, const struct pp_peer *peer, bool readonly, int control_fd)
{
	struct pp_watch *w;
	uint32_t slots;

	if (r->proc >= pp_daemon_region(d)->fixed.procs)
		return false;
	w = &d->watch[r->proc];
	if (!w->used || w->pid != peer->pid || w->uid != peer->uid || w->readonly != readonly ||
		w->generation != r->generation)
		return false;
	if (!readonly || w->control)
		return true;
	slots = control_known(d, r->proc, control_fd);
	if (slots && !control_map(d, w, control_fd, slots))
		return true;
	pp_clients_died(d, r->proc); /* its slots are out of reach: it gets new ones */
	return false;
}

static unsigned attached_by(struct pp_daemon *d, uid_t uid)
{
	uint32_t procs = pp_daemon_region(d)->fixed.procs;
	unsigned n = 0;

	for (uint32_t i = 0; i < procs; i++)
		n += d->watch[i].used && d->watch[i].uid == uid;
	return n;
}

/* Records of the dead are free only when their rings are durable. One stays free: the next daemon must be able to add itself. */
static bool records_left(struct pp_daemon *d)
{
	struct pp_region *r = pp_daemon_region(d);
	unsigned n = 0;

	for (uint32_t i = 0; i < r->fixed.procs && n < 3; i++)
		n += pp_load_acq(&r->procs[i].state) == 0;
	return n == 3;
}

/* A reader that was evicted asks for another record: the old one can go, what its slots say has no weight any more. */
static void drop_evicted(struct pp_daemon *d, const struct pp_peer *peer)
{
	uint32_t procs = pp_daemon_region(d)->fixed.procs;

	for (uint32_t i = 0; i < procs; i++)
		if (d->watch[i].used && d->watch[i].pid == peer->pid && d->watch[i].readonly &&
		    pp_load_acq(&pp_daemon_region(d)->procs[i].flags) & PP_PROC_EVICTED)
			pp_clients_died(d, i);
}

static int new_record(struct pp_daemon *d, const struct pp_request *r, const struct pp_peer *peer, bool readonly,
	uint32_t *proc)
{
	uint64_t start = 0;
	int rc;

	drop_evicted(d, peer);
	if (peer->uid && attached_by(d, peer->uid) >= d->set.clients_per_user)
		return pp_detail(-EUSERS, "user %u is attached %llu times already (clients-per-user)", (unsigned)peer->uid,
			(unsigned long long)d->set.clients_per_user);
	if (d->watches >= d->set.clients)
		return pp_detail(-EUSERS, "%u clients are attached already: start ppdbd with more --clients", d->watches);
	if (!records_left(d))
		return pp_detail(-EBUSY, "the records of clients that ended are not free yet; try again");
	if (pp_proc_start(peer->pid, &start) == -ESRCH)
		return pp_detail(-ESRCH, "the client is gone");
	rc = pp_keeper_proc_add(d->work.keeper, (uint32_t)peer->pid, peer->uid, start, readonly ? PP_PROC_READONLY : 0,
		r->client_name, proc);
	if (rc)
		return rc;
	return watch(d, *proc, peer->pid, peer->uid, readonly,
		peer->pidfd < 0 ? -1 : fcntl(peer->pidfd, F_DUPFD_CLOEXEC, 3));
}

/* A descriptor of the arena for the client: the same file, opened anew so that it has the rights that the client gets. */
static int arena_fd(struct pp_daemon *d, bool readonly, int *out)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", pp_daemon_region(d)->fd);
	fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return pp_detail(-errno, "cannot open the arena for the client: %s", strerror(errno));
	*out = fd;
	return 0;
}

int pp_clients_attach(struct pp_daemon *d, const struct pp_request *r, const struct pp_peer *peer, int control_fd,
	struct pp_reply *reply, int fds[2])
{
	bool readonly = r->flags & PP_MSG_READONLY;
	struct pp_region *region = pp_daemon_region(d);
	uint32_t proc = r->proc;
	int rc;

	if (!region || !d->watch)
		return refuse_starting(d);
	if (r->layout_hash != region->fixed.layout_hash)
		return pp_detail(PPDB_LAYOUT, "the client's library has another layout than this ppdbd: use the one built with it");
	rc = arena_fd(d, readonly, &fds[0]);
	if (rc)
		return rc;
	if (!goes_on(d, r, peer, readonly, control_fd)) {
		rc = new_record(d, r, peer, readonly, &proc);
		if (!rc && readonly) {
			rc = control_make((uint32_t)d->set.control_slots, &fds[1]);
			if (!rc)
				rc = control_map(d, &d->watch[proc], fds[1], (uint32_t)d->set.control_slots);
			reply->control_slots = (uint32_t)d->set.control_slots;
			if (rc)
				pp_clients_died(d, proc);
		}
		if (rc)
			return rc;
	}
	reply->proc = proc;
	reply->generation = d->watch[proc].generation;
	reply->incarnation = pp_load_acq(&region->header->incarnation);
	return 0;
}
