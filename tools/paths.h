/*
 * paths.h - where a store lives: data directory, socket, arena and config file of a name, for root and for a user.
 *
 *              root                          ordinary user
 *   data       /var/lib/ppdb/NAME            $XDG_DATA_HOME/ppdb/NAME     (~/.local/share)
 *   socket     /run/ppdb/NAME.sock           $XDG_RUNTIME_DIR/ppdb/NAME.sock, else /tmp/ppdb-UID/NAME.sock
 *   arena      /dev/shm/ppdb-0/NAME.arena    /dev/shm/ppdb-UID/NAME.arena
 *   config     /etc/ppdb/NAME.conf           $XDG_CONFIG_HOME/ppdb/NAME.conf (~/.config)
 *
 * Clients that attach by name try the user's socket, then root's (client/proto.h).
 */
#ifndef PP_TOOLS_PATHS_H
#define PP_TOOLS_PATHS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct pp_paths {
	char name[64];
	char data[PATH_MAX];
	char socket[108];   /* fits sun_path */
	char arena[PATH_MAX];
	char config[PATH_MAX];
};

/* True for 1..63 of [A-Za-z0-9._-], not beginning with '.'. */
bool pp_paths_name_ok(const char *name);

/* Fills *out for `name` (NULL = "default") and the effective user. Makes nothing. -EINVAL with a detail for a bad name,
 * -ENAMETOOLONG, -ENOENT when neither $HOME nor the password file tells the user's home. */
int pp_paths_fill(const char *name, struct pp_paths *out);

/* Makes `dir` and its missing parents; the last one gets `mode`. A directory that exists must belong to this user (or root),
 * and must not be writable by others when `mode` has no such bits: -EPERM with a detail. */
int pp_paths_mkdir(const char *dir, mode_t mode);

/* The same for the directory that holds `file`. */
int pp_paths_mkdir_for(const char *file, mode_t mode);

#endif
