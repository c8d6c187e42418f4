/*
 * daemon.h - what the files of ppdbd share: settings, the daemon itself, and one struct a concern.
 *
 *   main thread    epoll: socket, connections, pidfds, signals, wake-ups of the workers
 *   step thread    opens the store (recovery), then commits: pp_keeper_step / pp_keeper_sleep
 *   house thread   reclamation, sweeps: pp_keeper_house
 *   scribe thread  checkpoints: pp_keeper_checkpoint
 *   maker thread   log segments: pp_keeper_prepare
 *
 * The main thread alone touches connections and watches. It talks to the workers through the words in struct pp_work.
 */
#ifndef PP_TOOLS_DAEMON_H
#define PP_TOOLS_DAEMON_H

#include "client/proto.h"
#include "engine/keeper.h"
#include "shm/clock.h"
#include "tools/conf.h"
#include "tools/paths.h"

#include <pthread.h>
#include <sys/epoll.h>

/* ---- settings, daemon_settings.c */

struct pp_settings {
	char name[64], data_dir[PATH_MAX], config[PATH_MAX], socket[108], arena[PATH_MAX], log[PATH_MAX];
	uint64_t memory, shards, strategy, sync, slots, clients, ring, stripes, pages, spin_ns, backoff_max;
	uint64_t wal_segment, wal_depth, feed_hold, checkpoint_bytes, checkpoint_streams, house_ms, pin_seconds, pin_bytes;
	uint64_t clients_per_user, control_slots;
	char wal_backend[32], rw_users[512], rw_groups[512], ro_users[512], ro_groups[512];
	bool foreground, numa, gather, checkpoint_on_stop, help, version;
};

extern const struct pp_conf_key pp_settings_keys[];
/* Defaults, then the config file, then options. 0 or an error with detail. */
int pp_settings_load(struct pp_settings *, int argc, char **argv);
void pp_settings_keeper(const struct pp_settings *, uint64_t store_id, struct pp_keeper_config *);

/* ---- start, daemon_ready.c */

/* Forks; returns in the daemon with *ready = descriptor to report to. The starter waits there and ends with the daemon's verdict. */
int pp_daemonise(int *ready);
/* To the starter (ready >= 0) and to systemd. problem NULL = clients may attach. */
void pp_ready_report(int ready, const char *problem);
void pp_tell_manager(const char *state);
void pp_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- workers, daemon_work.c */

enum pp_work_phase { PP_WORK_OPENING, PP_WORK_RUNNING, PP_WORK_FAILED };

#define PP_WORK_HELPERS 3

/* Connections that wait for durability, daemon_bell.c. */
struct pp_bell_hook;
struct pp_bells {
	pthread_mutex_t lock;
	struct pp_bell_hook *first;
	pp_a32 count;
};

struct pp_work {
	struct pp_keeper_config config;
	struct pp_keeper *keeper;      /* set before phase RUNNING */
	pp_a32 phase, stop;
	pp_a32 log_error;              /* -errno of the log once it failed */
	pp_a32 checkpoint_wanted, checkpoint_done;
	int checkpoint_rc;
	char problem[512], checkpoint_text[512], progress[128];
	pthread_mutex_t text_lock;     /* the texts */
	uint64_t house_ns;
	bool pin;
	int event;                     /* eventfd: phase or checkpoint_done changed */
	pthread_t step, helper[PP_WORK_HELPERS]; /* house, scribe, maker: started by the step thread */
	unsigned helpers;
	bool checkpoint_on_stop;
	int close_rc;                  /* of pp_keeper_close, when the step thread is joined */
	pthread_cond_t nap;
	pthread_mutex_t nap_lock;
	struct pp_bells bells;
	bool step_started;
};

int pp_work_start(struct pp_work *);      /* step thread; it starts the house thread when the store is open */
void pp_work_stop(struct pp_work *);      /* joins all; the store is closed then */
void pp_work_checkpoint(struct pp_work *); /* asks the scribe thread */
void pp_work_close_epoch(struct pp_work *); /* a read-only client wants a cut: it cannot ask in the region */

/* ---- who may attach, daemon_allow.c */

struct pp_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int pidfd;                     /* owned, -1 = none */
};

/* Credentials of the peer. -EPERM with a detail when its pid cannot be told. */
int pp_peer_read(int sock, struct pp_peer *);
/* 0, or -EACCES with a detail. */
int pp_peer_allowed(const struct pp_settings *, int sock, const struct pp_peer *, bool readonly);

/* ---- attached processes, daemon_clients.c */

struct pp_watch {
	uint32_t proc;
	bool used, readonly;
	pid_t pid;
	uid_t uid;
	int pidfd;
	uint64_t generation;
	struct pp_control *control;    /* read-only: mapped here too */
	uint64_t control_bytes;
};

struct pp_daemon;
struct dying;
int pp_clients_init(struct pp_daemon *);  /* after the store is open: watches what a warm start found */
void pp_clients_clear(struct pp_daemon *);
/* Serves ATTACH: fills reply and fds[2] (the caller closes fds[i] >= 0). */
int pp_clients_attach(struct pp_daemon *, const struct pp_request *, const struct pp_peer *, int control_fd,
	struct pp_reply *, int fds[2]);
void pp_clients_died(struct pp_daemon *, uint32_t proc);
/* The socket hung up: dead or alive? */
void pp_clients_check(struct pp_daemon *, uint32_t proc);
void pp_clients_reap(struct pp_daemon *); /* now and then: unmaps controls whose record is free, looks at processes without pidfd */

/* True if it is certain that the process does not map this file, daemon_maps.c. */
bool pp_maps_unmapped(pid_t pid, uint64_t dev, uint64_t ino);

/* ---- socket, daemon_socket.c */

struct pp_conn {
	int sock;
	uint32_t proc;                 /* PP_PROC_NONE: not attached */
	uint32_t bell_proc;            /* whose slot its bell looks at */
	struct pp_bell_hook *bell;     /* NULL: none */
	bool waits_checkpoint;
	struct pp_peer peer;
	struct pp_conn *next, **link;
};

/* True if a live daemon serves this socket. */
bool pp_socket_answered(const char *path);
int pp_socket_listen(struct pp_daemon *);
void pp_socket_close(struct pp_daemon *);
void pp_socket_accept(struct pp_daemon *);
void pp_conn_event(struct pp_daemon *, struct pp_conn *);
void pp_conn_close(struct pp_daemon *, struct pp_conn *);
void pp_conn_checkpoint_done(struct pp_daemon *);

/* ---- bells, daemon_bell.c */

/* Serves BELL. */
int pp_bell_hang(struct pp_daemon *, struct pp_conn *, const struct pp_request *);
void pp_bell_remove(struct pp_daemon *, struct pp_conn *);
/* Step thread. */
void pp_bell_ring_all(struct pp_bells *, uint64_t durable, bool failed);

/* ---- the log's files for followers, daemon_segment.c: opens one read-only; its number to *found */
int pp_segment_open(struct pp_daemon *, const struct pp_request *, uint64_t *found, int *fd);

/* ---- status, daemon_status.c: JSON into text; returns its length */
size_t pp_status_write(struct pp_daemon *, char *text, size_t cap);

/* ---- the daemon */

enum pp_event_kind { PP_EVENT_LISTEN = 1, PP_EVENT_SIGNAL, PP_EVENT_WORK, PP_EVENT_CONN, PP_EVENT_PIDFD };

struct pp_daemon {
	struct pp_settings set;
	struct pp_work work;
	uint64_t store_id, started_ns;
	int epoll, listener, signals, ready, data_lock, name_lock;
	bool warm;
	struct pp_conn *conns;
	unsigned conn_count;
	struct pp_watch *watch;        /* [procs of the region] */
	struct dying *dying;           /* gone readers whose control region the keeper may still read */
	unsigned watches;
};

/* Adds to epoll with {kind, value}; pp_event_* take it apart. */
int pp_event_add(struct pp_daemon *, int fd, enum pp_event_kind, uint64_t value);
#define pp_event_kind_of(u) ((enum pp_event_kind)((u) >> 56))
#define pp_event_value_of(u) ((u) & ((UINT64_C(1) << 56) - 1))

static inline struct pp_region *pp_daemon_region(struct pp_daemon *d)
{
	/* [daemon.region:phase] pairs [work.open:phase]: the keeper is open */
	return pp_load_acq(&d->work.phase) == PP_WORK_RUNNING ? pp_keeper_region(d->work.keeper) : NULL;
}

#endif
