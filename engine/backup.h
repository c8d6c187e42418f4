/*
 * backup.h - a copy of a running store's files: the newest checkpoint and the log behind it, up to one cut. And reading a store's files
 * from end to end without starting it.
 */
#ifndef PP_ENGINE_BACKUP_H
#define PP_ENGINE_BACKUP_H

#include <stdint.h>

struct pp_backup_report {
	uint64_t checkpoint_epoch;         /* 0: no checkpoint */
	uint64_t checkpoint_records, log_records;
	uint64_t epoch;                    /* the cut: all up to it is there */
	uint64_t bytes;                    /* read */
	int torn;                          /* something behind the cut does not count (a store that was not stopped cleanly) */
};

/*
 * Copies the files of the store in `from` to the empty directory `to`: everything up to unit `cut` of its log, which is durable. The store
 * may be running; its checkpoints may let files go meanwhile: then -EAGAIN, `to` holds rubbish, call it again. Makes `to`/wal and
 * `to`/checkpoint; all is synced on return.
 */
int pp_backup_copy(const char *from, const char *to, uint64_t store_id, uint64_t cut);
/* Removes what pp_backup_copy made. */
int pp_backup_clear(const char *to);

/* Reads the checkpoint and the log in `dir` as recovery would, and checks every byte that counts. PPDB_CORRUPT names file and offset. */
int pp_backup_verify(const char *dir, uint64_t store_id, struct pp_backup_report *out);

#endif
