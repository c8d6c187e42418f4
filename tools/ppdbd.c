/*
 * ppdbd.c - the daemon: owns the arena, the log and the housekeeping of one store.
 *
 * Start: settings -> background -> lock of the name (one daemon an arena) and of the data directory -> socket -> workers (recovery)
 * -> ready. While recovery runs, clients and `ppdb status` get the answer "starting". Stop (SIGTERM, SIGINT): no new clients, workers
 * joined, keeper closed (everything drained, marker written); the region stays for a warm start. SIGKILL at any point is safe: locks
 * go with the process, the next daemon replaces the socket and adopts the arena.
 */
#include "tools/daemon.h"

#include "tools/store_dir.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#define LOCK_WAIT_MS 3000
#define TURN_MS 500

int pp_event_add(struct pp_daemon *d, int fd, enum pp_event_kind kind, uint64_t value)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = (uint64_t)kind << 56 | value };

	return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &e) ? pp_detail(-errno, "epoll: %s", strerror(errno)) : 0;
}

/* ---- start */

static int lock_all(struct pp_daemon *d)
{
	char path[PATH_MAX];
	int rc = pp_paths_mkdir_for(d->set.arena, 0700);

	if (!rc)
		rc = pp_paths_mkdir(d->set.data_dir, 0700);
	if (!rc && access(d->set.data_dir, W_OK | X_OK))
		rc = pp_detail(-errno, "the data directory %s is not writable: %s", d->set.data_dir, strerror(errno));
	if (rc)
		return rc;
	/* ask first: waiting for the lock is for what a killed daemon leaves */
	if (pp_socket_answered(d->set.socket))
		return pp_detail(-EADDRINUSE, "another ppdbd answers at %s: stop it, or choose another name or --socket",
			d->set.socket);
	if ((size_t)snprintf(path, sizeof(path), "%s/LOCK", d->set.data_dir) >= sizeof(path))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", d->set.data_dir);
	rc = pp_store_lock(path, LOCK_WAIT_MS, &d->data_lock);
	if (rc)
		return rc;
	if ((size_t)snprintf(path, sizeof(path), "%s.lock", d->set.arena) >= sizeof(path))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", d->set.arena);
	rc = pp_store_lock(path, LOCK_WAIT_MS, &d->name_lock);
	return rc ? rc : pp_store_open(d->set.data_dir, true, &d->store_id);
}

static int open_log(const struct pp_settings *s)
{
	int fd;

	if (s->foreground)
		return 0;
	fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return pp_detail(-errno, "cannot write messages to %s: %s", s->log, strerror(errno));
	dup2(fd, 2);
	close(fd);
	return 0;
}

static int take_signals(struct pp_daemon *d)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* before any thread exists, so that all inherit it */
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return pp_detail(-EINVAL, "signals cannot be blocked");
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signals < 0)
		return pp_detail(-errno, "no signalfd: %s", strerror(errno));
	return pp_event_add(d, d->signals, PP_EVENT_SIGNAL, 0);
}

static void more_files(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int start(struct pp_daemon *d)
{
	int rc;

	more_files();
	d->started_ns = pp_now_ns();
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll < 0)
		return pp_detail(-errno, "no epoll: %s", strerror(errno));
	rc = take_signals(d);
	if (!rc)
		rc = lock_all(d);
	if (!rc)
		rc = open_log(&d->set);
	if (!rc)
		rc = pp_socket_listen(d);
	if (rc)
		return rc;
	pp_settings_keeper(&d->set, d->store_id, &d->work.config);
	d->work.house_ns = d->set.house_ms * PP_NS_PER_MS;
	d->work.pin = d->set.numa;
	d->work.checkpoint_on_stop = d->set.checkpoint_on_stop;
	rc = pp_work_start(&d->work);
	return rc ? rc : pp_event_add(d, d->work.event, PP_EVENT_WORK, 0);
}

/* ---- main loop */

/* The workers said something. False: the daemon cannot go on. */
static bool work_event(struct pp_daemon *d)
{
	uint64_t count;
	ssize_t n = read(d->work.event, &count, sizeof(count));

	if (n < 0 && errno != EAGAIN)
		return false;
	if (pp_load_acq(&d->work.phase) == PP_WORK_FAILED) {
		pp_log("%s", d->work.problem);
		pp_ready_report(d->ready, d->work.problem);
		d->ready = -1;
		return false;
	}
	if (!d->watch && pp_daemon_region(d)) {
		if (pp_clients_init(d))
			return false;
		d->warm = pp_keeper_was_warm(d->work.keeper);
		pp_log("store '%s' in %s is ready (%s start)", d->set.name, d->set.data_dir, d->warm ? "warm" : "cold");
		pp_ready_report(d->ready, NULL);
		d->ready = -1;
	}
	if (pp_swap_acqrel(&d->work.checkpoint_done, 0))
		pp_conn_checkpoint_done(d);
	return true;
}

static bool serve_event(struct pp_daemon *d, uint64_t event)
{
	uint64_t value = pp_event_value_of(event);

	switch (pp_event_kind_of(event)) {
	case PP_EVENT_LISTEN:
		pp_socket_accept(d);
		return true;
	case PP_EVENT_SIGNAL:
		return false;
	case PP_EVENT_WORK:
		return work_event(d);
	case PP_EVENT_CONN:
		pp_conn_event(d, (struct pp_conn *)(uintptr_t)value);
		return true;
	case PP_EVENT_PIDFD:
		pp_clients_died(d, (uint32_t)value);
		return true;
	}
	return true;
}

static void loop(struct pp_daemon *d)
{
	uint64_t reaped = 0;

	for (;;) {
		struct epoll_event e; /* one at a time: serving it may close what another one names */
		int n = epoll_wait(d->epoll, &e, 1, TURN_MS);

		if (n < 0 && errno != EINTR) {
			pp_log("epoll: %s", strerror(errno));
			return;
		}
		if (n == 1 && !serve_event(d, e.data.u64))
			return;
		if (d->watch && pp_now_ns() - reaped > TURN_MS * PP_NS_PER_MS) {
			pp_clients_reap(d);
			reaped = pp_now_ns();
		}
	}
}

static int stop(struct pp_daemon *d)
{
	bool ran;
	int rc;

	pp_tell_manager("STOPPING=1\n");
	pp_work_stop(&d->work);
	rc = d->work.close_rc;
	ran = pp_load_acq(&d->work.phase) == PP_WORK_RUNNING;
	if (ran && !rc)
		pp_log("store '%s' stopped", d->set.name);
	pp_clients_clear(d);
	pp_socket_close(d);
	if (d->ready >= 0)
		pp_ready_report(d->ready, "stopped while starting");
	return ran && !rc ? 0 : 1;
}

static int run(struct pp_daemon *d)
{
	int rc;

	if (!d->set.foreground && pp_daemonise(&d->ready)) {
		fprintf(stderr, "ppdbd: %s\n", pp_detail_get());
		return 1;
	}
	rc = start(d);
	if (rc) {
		if (d->set.foreground)
			fprintf(stderr, "ppdbd: %s\n", pp_detail_get());
		pp_ready_report(d->ready, pp_detail_get());
		return 1;
	}
	loop(d);
	return stop(d);
}

static void usage(void)
{
	printf("usage: ppdbd [OPTION]...\n"
		"Serves one store: shared memory, log and housekeeping. Goes to the background when clients may attach.\n\n");
	pp_conf_help(pp_settings_keys, stdout);
	printf("\nSizes take K, M, G. A flag has --no-FLAG too. Every option but name and config is also a key of the config file: KEY = VALUE a line, # begins a\n"
		"comment; the command line counts more. Files of the store NAME, for root and for a user:\n\n"
		"  config   /etc/ppdb/NAME.conf        $XDG_CONFIG_HOME/ppdb/NAME.conf\n"
		"  data     /var/lib/ppdb/NAME         $XDG_DATA_HOME/ppdb/NAME\n"
		"  socket   /run/ppdb/NAME.sock        $XDG_RUNTIME_DIR/ppdb/NAME.sock\n"
		"  memory   /dev/shm/ppdb-0/NAME.arena and /dev/shm/ppdb-UID/NAME.arena\n\n"
		"SIGTERM stops it cleanly; SIGKILL is always safe. The next one takes over the memory, or reads checkpoint and log when there is none.\n"
		"Under a service manager: --foreground, and READY=1 is told to $NOTIFY_SOCKET.\n\n"
		"  ppdbd -n orders --memory 8G --slots 512\n"
		"  ppdbd -n orders --foreground --rw-groups app --ro-users '*'\n");
}

int main(int argc, char **argv)
{
	static struct pp_daemon d = { .epoll = -1, .listener = -1, .signals = -1, .ready = -1, .data_lock = -1,
		.name_lock = -1 };
	int rc = pp_settings_load(&d.set, argc, argv);

	if (rc) {
		fprintf(stderr, "ppdbd: %s\n", pp_detail_get());
		return 2;
	}
	if (d.set.help) {
		usage();
		return 0;
	}
	if (d.set.version) {
		printf("ppdbd 0.1.0, protocol %d, layout %016llx\n", PP_PROTO_VERSION,
			(unsigned long long)pp_layout_hash_engine());
		return 0;
	}
	return run(&d);
}
