/*
 * checks.c - `unstuck-worker check`: what a start would refuse, and what it would only suffer from.
 *
 * Not here: what is looked at in a table (common/mapping.h).
 */
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "mapping.h"
#include "redis_dial.h"
#include "spool_dir.h"

#define REDIS_PATIENCE (2 * SEC)

static const struct { const char *word, *colour; } level_look[] = {
	[FINDING_OK]      = { "ok",      "\033[32m" },
	[FINDING_WARNING] = { "warning", "\033[33m" },
	[FINDING_ERROR]   = { "error",   "\033[31m" },
};

static void tell(enum finding_level level, const char *about, const char *text)
{
	bool colour = cli_colour(STDOUT_FILENO);

	printf("%s%-8s%s%s: %s\n", colour ? level_look[level].colour : "", level_look[level].word,
	       colour ? "\033[0m" : "", about, text);
}

static bool check_handler(const struct queue_settings *set, const char *about)
{
	struct error err = ERROR_INIT;
	char *path, *text;

	if (set->handler[0] == NULL) {
		tell(FINDING_ERROR, about, "no handler; write handler = /path/to/program");
		return false;
	}
	path = child_find(set->handler[0], &err);
	if (path == NULL) {
		text = xasprintf("handler: %s", err.text);
		tell(FINDING_ERROR, about, text);
	} else {
		text = xasprintf("handler %s", path);
		tell(FINDING_OK, about, text);
	}
	free(text);
	free(path);
	return path != NULL;
}

/* A queue's table. An error ends its list: what comes after would only repeat it. */
static bool check_table(const struct queue_settings *set, const char *about, struct session *session)
{
	struct mapping m = { .q = NULL };
	struct findings found = { .v = NULL };
	struct error err = ERROR_INIT;
	bool good = true;

	if (mapping_init(&m, set, &err) < 0 || mapping_resolve(&m, session, &err) < 0
	    || mapping_check(&m, session, &found, &err) < 0) {
		tell(FINDING_ERROR, about, err.text);
		good = false;
	}
	for (size_t i = 0; i < found.len; i++) {
		tell(found.v[i].level, about, found.v[i].text);
		good &= found.v[i].level != FINDING_ERROR;
	}
	findings_release(&found);
	mapping_release(&m);
	return good;
}

static bool is_spool_needed(const struct cli *cli, const struct settings *set,
                            bool (*wanted)(const struct cli *cli, const char *name))
{
	for (size_t i = 0; i < set->queues_len; i++)
		if (wanted(cli, set->queues[i].name) && queue_spools_always(&set->queues[i]))
			return true;
	return false;
}

/* The directory of its nearest parent that is there says whether it can be made. */
static int check_parent(const char *dir, struct error *err)
{
	char *path = xstrdup(dir), *slash;

	while ((slash = strrchr(path, '/')) != NULL && slash != path) {
		*slash = '\0';
		if (access(path, F_OK) == 0)
			break;
	}
	if (slash != NULL && slash != path && access(path, W_OK | X_OK) != 0)
		error_set(err, ERR_SYS, "spool_dir: %s is not there and cannot be made: %s: %s", dir, path, strerror(errno));
	free(path);
	return err->kind == ERR_NONE ? 0 : -1;
}

static bool check_spool(const struct settings *set, bool needed)
{
	struct error err = ERROR_INIT;
	bool missing;
	int fd = spool_base_open(set->spool_dir, false, &missing, &err);

	if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		error_set(&err, ERR_SYS, "spool_dir: %s cannot be written to: %s", set->spool_dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	else if (missing)
		check_parent(set->spool_dir, &err);
	tell(err.kind == ERR_NONE ? FINDING_OK : needed ? FINDING_ERROR : FINDING_WARNING, "spool",
	     err.kind == ERR_NONE ? set->spool_dir : err.text);
	return err.kind == ERR_NONE || !needed;
}

/* The worker would go on without, but for queues with a rate. */
static void check_redis(const struct settings *set)
{
	struct error err = ERROR_INIT;
	struct buf where = BUF_INIT;
	struct redis_url url;
	redisContext *c = NULL;

	if (set->redis_url[0] == '\0')
		return;
	if (redis_url_parse(&url, set->redis_url, &err) == 0)
		c = redis_dial(&url, REDIS_PATIENCE, &err);
	redis_describe(&where, &url);
	if (c != NULL)
		tell(FINDING_OK, "redis", buf_text(&where));
	else
		tell(FINDING_WARNING, "redis", err.text);
	if (c != NULL)
		redisFree(c);
	buf_release(&where);
	redis_url_release(&url);
}

enum exit_status checks_run(const struct cli *cli, const struct settings *set,
                            bool (*wanted)(const struct cli *cli, const char *name))
{
	struct session session = { .conn = NULL };
	struct error err = ERROR_INIT;
	struct buf where = BUF_INIT;
	bool good = true;

	tell(FINDING_OK, "settings", set->path[0] ? set->path : "no file; flags and environment only");
	good &= check_spool(set, is_spool_needed(cli, set, wanted));
	check_redis(set);
	if (session_open(&session, set->database_url, "unstuck-worker", &err) < 0) {
		tell(FINDING_ERROR, "database", err.text);
		return error_exit_status(&err);
	}
	pg_describe(&where, session.conn);
	tell(FINDING_OK, "database", buf_text(&where));
	buf_release(&where);
	if (session.has_schema) {
		tell(FINDING_OK, "schema", "unstuck is there, at this program's version");
	} else {
		tell(FINDING_ERROR, "schema", "this database has no unstuck schema (or an older one); run: unstuckctl init");
		good = false;
	}
	for (size_t i = 0; i < set->queues_len; i++) {
		char *about;

		if (!wanted(cli, set->queues[i].name))
			continue;
		about = xasprintf("queue %s", set->queues[i].name);
		good &= check_handler(&set->queues[i], about);
		if (session.has_schema)
			good &= check_table(&set->queues[i], about, &session);
		free(about);
	}
	session_close(&session);
	return good ? EXIT_DONE : EXIT_SETTINGS;
}
