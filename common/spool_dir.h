/*
 * spool_dir.h - the directories of the spool: whose they are, who is alive, opening them safely.
 *
 *   spool_dir/                    0700, of the user who runs the workers
 *     <instance>/                 0700, a random uuid: one process from its start to its end
 *       lock                      held by flock as long as that process lives
 *       reserve                   space that is kept for the results that are under way
 *       database                  which one the results are for (replay_database())
 *       segment.<n>  out.<n>      records; see spool.h
 *       damaged.<file>            what could not be read, moved aside by a replay
 *
 * An instance is made under a name that begins with a dot, locked, and renamed: whoever sees one
 * without a lock sees a dead one. Not here: what is in the files.
 */
#ifndef SPOOL_DIR_H
#define SPOOL_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "error.h"

#define SPOOL_INSTANCE_LEN 36
#define SPOOL_LOCK "lock"
#define SPOOL_RESERVE "reserve"
#define SPOOL_DATABASE "database"
#define SPOOL_DATABASE_MAX 200

/*
 * The descriptor of spool_dir. make: it is created with its parents. Without, *missing tells that
 * there is none (and -1 and no error). Refused: a link, no directory, writable by others, of another user.
 */
int spool_base_open(const char *path, bool make, bool *missing, struct error *err);

/* A new instance in base: its name, its directory and its lock, both descriptors of the caller. */
struct spool_instance {
	char name[SPOOL_INSTANCE_LEN + 1];
	int dir, lock;		/* lock -1: not ours */
};
#define SPOOL_INSTANCE_INIT { .dir = -1, .lock = -1 }
int spool_instance_create(struct spool_instance *in, int base, struct error *err);
/* Make it again under its old name after its directory has disappeared. */
int spool_instance_recreate(struct spool_instance *in, int base, struct error *err);
/* An instance that is there, unlocked. -1 without an error: it is gone, or no directory of ours. */
int spool_instance_open(struct spool_instance *in, int base, const char *name, struct error *err);
/* Take the lock of a dead one. false: it lives (or is gone). */
bool spool_instance_lock(struct spool_instance *in);
bool spool_instance_alive(const struct spool_instance *in);
/* Remove lock, reserve and directory. false: something else is in it, nothing was removed but the reserve. */
bool spool_instance_remove(struct spool_instance *in, int base);
void spool_instance_close(struct spool_instance *in);
/* Which database it is for. Reading: the caller frees; NULL: nobody said. */
int spool_instance_set_database(const struct spool_instance *in, const char *database, struct error *err);
char *spool_instance_database(const struct spool_instance *in);

/* Names in a directory that begin so, sorted, "." and ".." left out. At most SPOOL_NAMES_MAX. */
#define SPOOL_NAMES_MAX 100000
struct spool_names {
	char **v;
	size_t len;
};
int spool_names_read(struct spool_names *n, int dir, const char *prefix, struct error *err);
void spool_names_release(struct spool_names *n);
bool spool_is_instance_name(const char *name);

/* An ordinary file of the directory, for reading or writing; no link is followed, no FIFO waited for. -1: errno. */
int spool_file_open(int dir, const char *name, int flags);

#endif
