/*
 * spool_walk.c - every entry of every instance.
 */
#include "spool_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "spool_dir.h"
#include "spool_read.h"

struct walk {
	void (*entry)(void *arg, const struct spool_entry *e);
	void *arg;
	struct spool_entry at;
};

const char *spool_state_name(enum spool_state s)
{
	static const char *const names[] = {
		[SPOOL_SEALED] = "sealed", [SPOOL_WRITING] = "writing", [SPOOL_UNSEALED] = "unsealed", [SPOOL_DAMAGED] = "damaged",
	};

	return names[s];
}

static void tell(struct walk *w, enum spool_state state, const struct spool_record *r, uint64_t bytes, const char *what)
{
	w->at.state = state;
	w->at.record = r;
	w->at.bytes = bytes;
	w->at.what = what;
	w->entry(w->arg, &w->at);
}

static void on_record(void *arg, const struct spool_record *r, uint64_t offset)
{
	(void)offset;
	tell(arg, SPOOL_SEALED, r, r->bytes_len, NULL);
}

static void on_output(void *arg, const struct spool_record *head, int fd, uint64_t offset, uint64_t bytes)
{
	struct walk *w = arg;

	(void)offset;
	tell(w, w->at.alive || !spool_output_over(fd) ? SPOOL_WRITING : SPOOL_UNSEALED, head, bytes, NULL);
}

static void on_damage(void *arg, const struct spool_damage *d)
{
	struct walk *w = arg;

	/* A living process is just writing there; and a handler may have cut the head off its stdout, which loses nothing yet. */
	if (!w->at.alive || (!d->torn && strncmp(w->at.file, "out.", 4) != 0))
		tell(w, SPOOL_DAMAGED, NULL, d->bytes, d->what);
}

static bool is_data(const char *name)
{
	return strncmp(name, "segment.", 8) == 0 || strncmp(name, "out.", 4) == 0 || strncmp(name, "damaged.", 8) == 0;
}

static int walk_file(struct walk *w, const struct spool_instance *in, const char *name, struct error *err)
{
	const struct spool_reader reader = { on_record, on_output, on_damage, w };
	int fd = spool_file_open(in->dir, name, O_RDONLY), rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_set(err, ERR_SYS, "spool: cannot open %s/%s: %s", in->name, name, strerror(errno));
	w->at.file = name;
	rc = strncmp(name, "out.", 4) == 0 && spool_output_free(fd) ? 0 : spool_read(&reader, fd, spool_seed(in->name), err);
	close(fd);
	return rc;
}

/* Of a living one a file may be emptied while it is read: no error. */
static int walk_instance(struct walk *w, const struct spool_instance *in, struct error *err)
{
	struct error of_living = ERROR_INIT;
	struct spool_names names;
	int rc = 0;

	if (spool_names_read(&names, in->dir, "", err) < 0)
		return -1;
	w->at.instance = in->name;
	w->at.alive = spool_instance_alive(in);
	for (size_t i = 0; i < names.len; i++)
		if (is_data(names.v[i]) && walk_file(w, in, names.v[i], w->at.alive ? &of_living : err) < 0 && !w->at.alive)
			rc = -1;
	spool_names_release(&names);
	return rc;
}

int spool_walk(const char *path, void (*entry)(void *arg, const struct spool_entry *e), void *arg, struct error *err)
{
	struct walk w = { .entry = entry, .arg = arg };
	struct spool_names names;
	bool missing;
	int base = spool_base_open(path, false, &missing, err), rc = 0;

	if (base < 0)
		return missing ? 0 : -1;
	if (spool_names_read(&names, base, "", err) < 0) {
		close(base);
		return -1;
	}
	for (size_t i = 0; i < names.len; i++) {
		struct spool_instance in;

		if (spool_instance_open(&in, base, names.v[i], err) == 0)
			rc |= walk_instance(&w, &in, err);
		spool_instance_close(&in);
	}
	spool_names_release(&names);
	close(base);
	return rc < 0 || err->kind != ERR_NONE ? -1 : 0;
}
