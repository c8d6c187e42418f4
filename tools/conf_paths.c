/*
 * conf_paths.c - where a store lives (see paths.h), and making those directories without trusting what others put there.
 *
 * Directories in /tmp and /dev/shm could have been made by somebody else beforehand: one that belongs to another user, or that others
 * may write, is refused. mkdir is idempotent, so a process that dies here leaves nothing to repair.
 */
#include "tools/paths.h"

#include "client/proto.h"
#include "engine/file.h"

#include <pwd.h>

bool pp_paths_name_ok(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && n < 64 && !name[n] && name[0] != '.';
}

static const char *home(void)
{
	const char *dir = getenv("HOME");
	struct passwd *pw;

	if (dir && dir[0] == '/')
		return dir;
	pw = getpwuid(geteuid());
	return pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
}

/* $VARIABLE, or HOME/otherwise. */
static int user_dir(char *out, size_t cap, const char *variable, const char *otherwise)
{
	const char *dir = getenv(variable);
	int n;

	if (dir && dir[0] == '/') {
		n = snprintf(out, cap, "%s", dir);
	} else {
		dir = home();
		if (!dir)
			return pp_detail(-ENOENT, "neither $%s nor $HOME is set: say where with options", variable);
		n = snprintf(out, cap, "%s/%s", dir, otherwise);
	}
	return n < 0 || (size_t)n >= cap ? pp_detail(-ENAMETOOLONG, "$%s is too long", variable) : 0;
}

static int join(char *out, size_t cap, const char *dir, const char *name, const char *suffix)
{
	int n = snprintf(out, cap, "%s/%s%s", dir, name, suffix);

	return n < 0 || (size_t)n >= cap ? pp_detail(-ENAMETOOLONG, "the path %s/%s%s is too long", dir, name, suffix) : 0;
}

static int fill_root(struct pp_paths *p)
{
	int rc = join(p->data, sizeof(p->data), "/var/lib/ppdb", p->name, "");

	return rc ? rc : join(p->config, sizeof(p->config), "/etc/ppdb", p->name, ".conf");
}

static int fill_user(struct pp_paths *p)
{
	char base[PATH_MAX - 16], dir[PATH_MAX];
	int rc = user_dir(base, sizeof(base), "XDG_DATA_HOME", ".local/share");

	if (!rc)
		rc = join(dir, sizeof(dir), base, "ppdb", "");
	if (!rc)
		rc = join(p->data, sizeof(p->data), dir, p->name, "");
	if (!rc)
		rc = user_dir(base, sizeof(base), "XDG_CONFIG_HOME", ".config");
	if (!rc)
		rc = join(dir, sizeof(dir), base, "ppdb", "");
	return rc ? rc : join(p->config, sizeof(p->config), dir, p->name, ".conf");
}

int pp_paths_fill(const char *name, struct pp_paths *p)
{
	char dir[64];
	int rc;

	if (!name)
		name = "default";
	if (!pp_paths_name_ok(name))
		return pp_detail(-EINVAL, "'%s' is no name for a store: 1 to 63 letters, digits, '.', '_', '-'", name);
	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	rc = geteuid() == 0 ? fill_root(p) : fill_user(p);
	if (rc)
		return rc;
	if (!pp_proto_socket_path(name, 0, p->socket) || !p->socket[0])
		return pp_detail(-ENAMETOOLONG, "the socket's path is longer than 107 bytes: give a shorter one with --socket");
	snprintf(dir, sizeof(dir), "/dev/shm/ppdb-%u", (unsigned)geteuid());
	return join(p->arena, sizeof(p->arena), dir, name, ".arena");
}

static int check_dir(const char *dir, mode_t mode)
{
	struct stat st;

	if (lstat(dir, &st))
		return pp_detail(-errno, "cannot look at %s: %s", dir, strerror(errno));
	if (S_ISLNK(st.st_mode) && st.st_uid == 0 && stat(dir, &st))
		return pp_detail(-errno, "cannot follow %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return pp_detail(-ENOTDIR, "%s is not a directory", dir);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return pp_detail(-EPERM, "%s belongs to user %u, not to this one: remove it or choose another place", dir,
			(unsigned)st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH) & ~mode && !(st.st_mode & S_ISVTX))
		return pp_detail(-EPERM, "%s can be written by others: chmod go-w it", dir);
	return 0;
}

/* With its parent's sync: a power cut must not take a directory that holds what is durable. */
static int make_dir(const char *path, mode_t mode)
{
	return access(path, F_OK) == 0 ? 0 : pp_file_make_dir(&pp_disk_real, path, mode);
}

int pp_paths_mkdir(const char *dir, mode_t mode)
{
	char path[PATH_MAX];
	size_t n = strlen(dir);
	int rc;

	if (n >= sizeof(path))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", dir);
	memcpy(path, dir, n + 1);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		rc = make_dir(path, 0755);
		if (rc)
			return rc;
		*slash = '/';
	}
	rc = make_dir(path, mode);
	return rc ? rc : check_dir(path, mode);
}

int pp_paths_mkdir_for(const char *file, mode_t mode)
{
	const char *slash = strrchr(file, '/');
	char dir[PATH_MAX];

	if (!slash || slash == file)
		return 0;
	if ((size_t)(slash - file) >= sizeof(dir))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", file);
	memcpy(dir, file, (size_t)(slash - file));
	dir[slash - file] = '\0';
	return pp_paths_mkdir(dir, mode);
}
