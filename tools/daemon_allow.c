/*
 * daemon_allow.c - who is on the other end of a socket, and may it attach.
 *
 * Root and the daemon's own user may always write; others by the lists rw-users, rw-groups, ro-users, ro-groups (names or ids,
 * separated by commas or blanks; "*" = everybody). Who may write may also read. Groups count with the supplementary ones that
 * the kernel recorded when the peer connected. All decisions are made from what the kernel says, never from the message.
 */
#include "tools/daemon.h"

#include "shm/live.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int pp_peer_read(int sock, struct pp_peer *p)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	p->pidfd = -1;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &n))
		return pp_detail(-errno, "the peer's credentials cannot be read: %s", strerror(errno));
	if (cred.pid <= 0)
		return pp_detail(-EPERM, "the client's process cannot be told: it runs in another pid namespace than ppdbd; run "
			"both in one (docker: --pid)");
	p->pid = cred.pid;
	p->uid = cred.uid;
	p->gid = cred.gid;
	n = sizeof(p->pidfd);
	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &p->pidfd, &n))
		p->pidfd = pp_pidfd_open(cred.pid, 0);
	if (p->pidfd < 0)
		p->pidfd = -1; /* then it is watched by pid and start time */
	return 0;
}

/* Next word of a list into `word`; NULL at the end. */
static const char *next_word(const char *at, char *word, size_t cap)
{
	size_t n;

	at += strspn(at, ", \t");
	n = strcspn(at, ", \t");
	if (!n)
		return NULL;
	snprintf(word, cap, "%.*s", (int)n, at);
	return at + n;
}

static bool is_user(const char *word, uid_t uid)
{
	struct passwd *pw;
	uint64_t id;

	if (!strcmp(word, "*"))
		return true;
	if (!pp_conf_number(word, &id))
		return id == uid;
	pw = getpwnam(word);
	return pw && pw->pw_uid == uid;
}

static bool is_group(const char *word, gid_t gid)
{
	struct group *gr;
	uint64_t id;

	if (!strcmp(word, "*"))
		return true;
	if (!pp_conf_number(word, &id))
		return id == gid;
	gr = getgrnam(word);
	return gr && gr->gr_gid == gid;
}

static bool user_listed(const char *list, uid_t uid)
{
	char word[64];

	while ((list = next_word(list, word, sizeof(word)))) {
		if (is_user(word, uid))
			return true;
	}
	return false;
}

static bool groups_listed(const char *list, int sock, gid_t gid)
{
	gid_t groups[1024];
	socklen_t bytes = sizeof(groups);
	size_t n;
	char word[64];

	if (!list[strspn(list, ", \t")])
		return false;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes))
		bytes = 0;
	n = bytes / sizeof(groups[0]);
	while ((list = next_word(list, word, sizeof(word)))) {
		bool found = is_group(word, gid);

		for (size_t i = 0; i < n && !found; i++)
			found = is_group(word, groups[i]);
		if (found)
			return true;
	}
	return false;
}

int pp_peer_allowed(const struct pp_settings *s, int sock, const struct pp_peer *p, bool readonly)
{
	if (p->uid == 0 || p->uid == geteuid())
		return 0;
	if (user_listed(s->rw_users, p->uid) || groups_listed(s->rw_groups, sock, p->gid))
		return 0;
	if (user_listed(s->ro_users, p->uid) || groups_listed(s->ro_groups, sock, p->gid)) {
		if (readonly)
			return 0;
		return pp_detail(-EACCES, "user %u may only read '%s': attach with PPDB_RDONLY, or add it to rw-users of ppdbd",
			(unsigned)p->uid, s->name);
	}
	return pp_detail(-EACCES, "user %u may not attach to '%s': add it to rw-users or ro-users of ppdbd", (unsigned)p->uid,
		s->name);
}
