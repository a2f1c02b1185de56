/*
 * replay.c - the files of dead processes, one record after the other to the database.
 *
 * Not here: what is in a file (spool_read.c), how a record is stored (replay_store.c).
 */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "failpoint.h"
#include "replay_judge.h"
#include "replay_store.h"
#include "spool_dir.h"
#include "spool_read.h"
#include "spool_walk.h"
#include "sqltext.h"

struct work {
	struct replay *r;
	struct replay_store *store;
	struct spool_instance in;
	char *database;			/* NULL: not known */
	const char *file;
	int64_t *claims;		/* of the sealed records of this instance */
	size_t claims_len;
	size_t kept, damaged;		/* of this file */
};

void replay_tell(const struct replay *r, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	r->tell(r->arg, buf_text(&text));
	buf_release(&text);
}

/* ---- files ---- */

static void on_record(void *arg, const struct spool_record *r, uint64_t offset)
{
	struct work *w = arg;

	(void)offset;
	w->claims = xrealloc(w->claims, (w->claims_len + 1) * sizeof *w->claims);
	w->claims[w->claims_len++] = r->claim_id;
	replay_store_take(w->store, r);
}

static bool is_sealed_too(const struct work *w, int64_t claim)
{
	for (size_t i = 0; i < w->claims_len; i++)
		if (w->claims[i] == claim)
			return true;
	return false;
}

/*
 * Who attends it cannot ask the database, so we beat for the dead worker: nobody, on no host, takes the job
 * while its handler runs. No row comes back when it has been declared dead already.
 */
static void beat_for(const struct work *w, const char *worker_id)
{
	const char *params[] = { worker_id, "finishing" };

	PQclear(session_exec(w->r->session, NULL, sqltext("workers", "beat"), 2, params));
}

/* Somebody has to say that the worker of a running handler lives; or it runs for nobody, and who attends it ends it. */
static void look_after(struct work *w, const struct spool_record *r, int fd)
{
	if (!replay_store_is_unwanted(w->store, r)) {
		if (!replay_store_lost(w->store))
			beat_for(w, r->worker_id);
	} else if (!spool_output_refused(fd) && spool_output_refuse(fd)) {
		replay_tell(w->r, "job %s of queue %s was cancelled, or is gone: the handler that a dead worker left is ended", r->job_id, r->queue);
	}
}

static void on_output(void *arg, const struct spool_record *head, int fd, uint64_t offset, uint64_t bytes)
{
	struct work *w = arg;
	struct spool_record r = *head;
	struct error why = ERROR_INIT;
	struct buf text = BUF_INIT, failure = BUF_INIT;

	if (is_sealed_too(w, head->claim_id))
		return;
	if (!r.ended && !spool_output_over(fd)) {
		w->kept++;
		w->r->count.running++;
		if (r.attended && !replay_store_lost(w->store))
			look_after(w, &r, fd);
		return;
	}
	if (spool_read_bytes(&text, fd, offset, bytes, &why) == 0) {
		r.bytes = buf_text(&text);
		r.bytes_len = text.len;
		if (r.ended)
			replay_judge(w->r->settings, &r, &text, &failure);
		replay_store_take(w->store, &r);
	} else {
		w->kept++;
		w->r->count.kept++;
		replay_tell(w->r, "job %s of queue %s stays in the spool: %s", r.job_id, r.queue, why.text);
	}
	buf_release(&text);
	buf_release(&failure);
}

static void on_damage(void *arg, const struct spool_damage *d)
{
	struct work *w = arg;

	replay_tell(w->r, "%s/%s at offset %llu: %s (%llu bytes)%s", w->in.name, w->file, (unsigned long long)d->offset, d->what,
	     (unsigned long long)d->bytes, d->torn ? ": the end of a write that was never finished, dropped" : "");
	if (d->torn)
		return;
	w->damaged++;
	w->r->count.damaged++;
}

static void put_away(struct work *w)
{
	char *aside;

	if (w->kept > 0)
		return;
	if (w->damaged == 0) {
		unlinkat(w->in.dir, w->file, 0);
		return;
	}
	aside = xasprintf("damaged.%s", w->file);
	if (renameat(w->in.dir, w->file, w->in.dir, aside) == 0)
		replay_tell(w->r, "what could not be read is left in %s/%s", w->in.name, aside);
	free(aside);
}

static void replay_file(struct work *w, const char *name)
{
	const struct spool_reader reader = { on_record, on_output, on_damage, w };
	struct error why = ERROR_INIT;
	int fd = spool_file_open(w->in.dir, name, O_RDONLY);
	bool is_free;

	w->file = name;
	w->kept = w->damaged = 0;
	if (fd < 0) {
		replay_tell(w->r, "cannot open %s/%s: %s", w->in.name, name, strerror(errno));
		w->r->count.kept++;
		return;
	}
	is_free = strncmp(name, "out.", 4) == 0 && spool_output_free(fd);
	if (!is_free && spool_read(&reader, fd, spool_seed(w->in.name), &why) < 0) {
		replay_tell(w->r, "%s/%s: %s", w->in.name, name, why.text);
		w->r->count.kept++;
		w->kept++;
	}
	close(fd);
	w->kept += replay_store_flush(w->store);
	FAILPOINT(replay_stored);
	put_away(w);
	FAILPOINT(replay_removed);
}

/* Sealed records first: an output file may be of a job that has one. */
static int replay_instance(struct work *w, struct error *err)
{
	static const char *const kinds[] = { "segment.", "out." };
	struct spool_names names;

	w->claims_len = 0;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (spool_names_read(&names, w->in.dir, kinds[k], err) < 0)
			return -1;
		for (size_t i = 0; i < names.len && !replay_store_lost(w->store); i++)
			replay_file(w, names.v[i]);
		spool_names_release(&names);
	}
	return 0;
}

/* A standby that takes over is the same one; a copy is not. */
char *replay_database(struct session *s)
{
	struct error why = ERROR_INIT;
	char *text = NULL;

	session_value(s, &why, &text, "SELECT c.system_identifier || '/' || d.oid FROM pg_control_system() AS c, pg_database AS d"
	              " WHERE d.datname = current_database()", 0, NULL);
	return text;
}

static bool is_ours(const struct work *w)
{
	char *database = spool_instance_database(&w->in);
	bool ours = database == NULL || w->database == NULL || strcmp(database, w->database) == 0;

	if (!ours) {
		w->r->count.elsewhere++;
		replay_tell(w->r, "%s/%s is of another database and stays; when that one has become this one, remove its file %s", w->r->dir,
		            w->in.name, SPOOL_DATABASE);
	}
	free(database);
	return ours;
}

static int replay_all(struct work *w, int base, const struct spool_names *names, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; i < names->len && !replay_store_lost(w->store); i++) {
		size_t before = w->r->count.records;

		if (spool_instance_open(&w->in, base, names->v[i], err) == 0 && spool_instance_lock(&w->in) && is_ours(w)) {
			FAILPOINT(replay_locked);
			rc |= replay_instance(w, err);
			w->r->count.instances += w->r->count.records > before;
			if (!replay_store_lost(w->store))
				spool_instance_remove(&w->in, base);
		}
		spool_instance_close(&w->in);
	}
	return rc < 0 || replay_store_lost(w->store) ? -1 : 0;
}

int replay_run(struct replay *r, struct error *err)
{
	struct work w = { .r = r, .in = SPOOL_INSTANCE_INIT };
	struct spool_names names;
	bool missing;
	int base = spool_base_open(r->dir, false, &missing, err), rc = -1;

	r->count = (struct replay_counts){ 0 };
	if (base < 0)
		return missing ? 0 : -1;
	w.database = replay_database(r->session);
	w.store = replay_store_new(r, err);
	if (spool_names_read(&names, base, "", err) == 0) {
		rc = replay_all(&w, base, &names, err);
		spool_names_release(&names);
	}
	replay_store_free(w.store);
	free(w.claims);
	free(w.database);
	close(base);
	return rc;
}

/* ---- only looking ---- */

struct look {
	struct replay_counts *count;
	char last[SPOOL_INSTANCE_LEN + 1];
};

static void look_at(void *arg, const struct spool_entry *e)
{
	struct look *l = arg;

	if (e->alive || strncmp(e->file, "damaged.", 8) == 0)
		return;
	if (strcmp(l->last, e->instance) != 0) {
		l->count->instances++;
		snprintf(l->last, sizeof l->last, "%s", e->instance);
	}
	if (e->state == SPOOL_DAMAGED)
		l->count->damaged++;
	else if (e->state == SPOOL_WRITING)
		l->count->running++;
	else
		l->count->records++;
}

int replay_look(const char *dir, struct replay_counts *out, struct error *err)
{
	struct look l = { .count = out };

	*out = (struct replay_counts){ 0 };
	return spool_walk(dir, look_at, &l, err);
}
