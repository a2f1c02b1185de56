/*
 * settings.c - where settings come from: defaults, file, environment, flags.
 *
 * Lives here: the order of precedence, what is unknown or told twice, memory.
 * Not here:   the rows (settings_table.c), one value (settings_parse.c), what
 *             must fit together (settings_check.c), pages about it (settings_docs.c).
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "inifile.h"
#include "setting.h"
#include "settings_check.h"
#include "words.h"

#define QUEUE_NAME_MAX 1000

void problems_add(struct problems *p, const char *fmt, ...)
{
	struct buf text = BUF_INIT, line = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	buf_add_line(&line, buf_text(&text), text.len);	/* a value may go over lines */
	buf_release(&text);
	p->text = xrealloc(p->text, (p->len + 1) * sizeof *p->text);
	p->text[p->len++] = buf_give(&line);
}

void problems_release(struct problems *p)
{
	for (size_t i = 0; i < p->len; i++)
		free(p->text[i]);
	free(p->text);
	*p = (struct problems)PROBLEMS_INIT;
}

static bool of_queue(const struct setting *row)
{
	return strcmp(row->section, "queue") == 0;
}

static void put_defaults(void *base, bool queue)
{
	for (size_t i = 0; i < setting_rows_len; i++)
		if (of_queue(&setting_rows[i]) == queue)
			setting_put_default(&setting_rows[i], base);
}

static void release_rows(void *base, bool queue)
{
	for (size_t i = 0; i < setting_rows_len; i++)
		if (of_queue(&setting_rows[i]) == queue)
			setting_release(&setting_rows[i], base);
}

bool queue_spools_always(const struct queue_settings *q)
{
	return q->spool == SPOOL_ALWAYS || (q->spool == SPOOL_DEFAULT && q->mode == MODE_EXEC);
}

struct queue_settings *settings_queue(struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->queues_len; i++)
		if (strcmp(s->queues[i].name, name) == 0)
			return &s->queues[i];
	return NULL;
}

struct queue_settings *settings_add_queue(struct settings *s, const char *name)
{
	struct queue_settings *q;

	s->queues = xrealloc(s->queues, (s->queues_len + 1) * sizeof *s->queues);
	q = &s->queues[s->queues_len++];
	*q = (struct queue_settings){ .name = xstrdup(name) };
	put_defaults(q, true);
	return q;
}

void settings_release(struct settings *s)
{
	for (size_t i = 0; i < s->queues_len; i++) {
		release_rows(&s->queues[i], true);
		free(s->queues[i].name);
	}
	free(s->queues);
	free(s->path);
	release_rows(s, false);
	*s = (struct settings){ .path = NULL };
}

int settings_check_value(const char *key, const char *value, struct error *err)
{
	const struct setting *row = setting_of(key);
	struct settings scratch = { .path = NULL };
	int status;

	if (row == NULL)
		return error_set(err, ERR_SETTINGS, "no setting is called %s", key);
	status = setting_put(row, &scratch, value, err);
	setting_release(row, &scratch);
	return status;
}

/* subject is "[worker] batch", a variable or a flag; between stands before the value. A secret is not shown. */
static void tell_bad_value(struct inifile *f, int line, const struct setting *row, const char *subject,
                           const char *between, const char *value, const struct error *why)
{
	bool named = row->kind == SET_COLUMN || row->kind == SET_COLUMNS || row->kind == SET_TABLE;
	struct buf shown = BUF_INIT;

	if (!setting_is_secret(row) && !named) {	/* the error of a name names it */
		buf_adds(&shown, between);
		setting_show(&shown, value);
	}
	inifile_fault(f, line, "%s%s: %s", subject, buf_text(&shown), why->text);
	buf_release(&shown);
}

static const char *nearest_key(const char *section, const char *key)
{
	const char *keys[SETTING_ROWS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, section) == 0)
			keys[n++] = setting_rows[i].key;
	return words_nearest(key, keys, n);
}

static void tell_unknown_key(struct inifile *f, const struct ini_section *s, const struct ini_entry *e,
                             const char *section)
{
	const char *near = nearest_key(section, e->key);
	struct buf hint = BUF_INIT, shown = BUF_INIT;

	setting_show(&shown, e->key);
	if (near != NULL)
		buf_addf(&hint, "; did you mean %s?", near);
	for (size_t i = 0; near == NULL && hint.len == 0 && i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].key, e->key) == 0)
			buf_addf(&hint, "; it belongs in [%s%s]", setting_rows[i].section,
			         of_queue(&setting_rows[i]) ? " NAME" : "");
	inifile_fault(f, e->line, "[%s] %s: no such key%s", s->name, buf_text(&shown), buf_text(&hint));
	buf_release(&shown);
	buf_release(&hint);
}

static void tell_unknown_section(struct inifile *f, const struct ini_section *s)
{
	const char *known[8], *near;
	size_t n = 0, first = strcspn(s->name, " \t:.\"");
	char *word = xstrndup(s->name, first);
	struct buf shown = BUF_INIT;

	while (setting_sections[n] != NULL) {
		known[n] = setting_sections[n];
		n++;
	}
	near = strcmp(word, "queue") == 0 ? "queue" : words_nearest(word, known, n);
	setting_show(&shown, s->name);
	if (near == NULL)
		inifile_fault(f, s->line, "[%s]: no such section; there are [unstuck], [worker], [recover], [http] and "
		              "[queue NAME]", buf_text(&shown));
	else
		inifile_fault(f, s->line, "[%s]: no such section; did you mean [%s%s]?", buf_text(&shown), near,
		              strcmp(near, "queue") == 0 ? " NAME" : "");
	buf_release(&shown);
	free(word);
}

/* The keys of one section of the file into base. section: as the table calls it. */
static void take_entries(struct inifile *f, const struct ini_section *s, const char *section, void *base)
{
	int first_line[SETTING_ROWS_MAX] = { 0 };

	for (size_t i = 0; i < s->len; i++) {
		const struct ini_entry *e = &s->entries[i];
		const struct setting *row = setting_find(section, e->key);
		struct error why = ERROR_INIT;
		int *first;

		if (row == NULL) {
			tell_unknown_key(f, s, e, section);
			continue;
		}
		first = &first_line[row - setting_rows];
		if (*first != 0)
			inifile_fault(f, e->line, "[%s] %s is set twice, in lines %d and %d", s->name, e->key, *first, e->line);
		else
			*first = e->line;
		if (setting_put(row, base, e->value, &why) < 0) {
			char *subject = xasprintf("[%s] %s", s->name, e->key);

			tell_bad_value(f, e->line, row, subject, " = ", e->value, &why);
			free(subject);
		}
	}
}

const char *settings_queue_of(const struct ini_section *s)
{
	const char *name = s->name + strlen("queue");

	if (strncmp(s->name, "queue", strlen("queue")) != 0 || (*name != ' ' && *name != '\t'))
		return NULL;
	return name + strspn(name, " \t");
}

static void take_queue(struct settings *s, struct inifile *f, const struct ini_section *section, const char *name)
{
	struct queue_settings *q = settings_queue(s, name);

	if (strlen(name) > QUEUE_NAME_MAX) {
		inifile_fault(f, section->line, "the name of the queue is longer than %d bytes", QUEUE_NAME_MAX);
		return;
	}
	if (q != NULL) {
		inifile_fault(f, section->line, "[queue %s] stands twice, in lines %d and %d", name, q->line, section->line);
	} else {
		q = settings_add_queue(s, name);
		q->line = section->line;
	}
	take_entries(f, section, "queue", q);
}

static bool is_known_section(const char *name)
{
	for (size_t i = 0; setting_sections[i] != NULL; i++)
		if (strcmp(setting_sections[i], name) == 0)
			return strcmp(name, "queue") != 0;
	return false;
}

static void take_sections(struct settings *s, struct inifile *f)
{
	for (size_t i = 0; i < f->len; i++) {
		const struct ini_section *section = &f->sections[i], *before = f->sections;
		const char *queue = settings_queue_of(section);

		if (queue != NULL) {
			take_queue(s, f, section, queue);
			continue;
		}
		if (!is_known_section(section->name)) {
			tell_unknown_section(f, section);
			continue;
		}
		while (strcmp(before->name, section->name) != 0)
			before++;
		if (before != section)
			inifile_fault(f, section->line, "[%s] stands twice, in lines %d and %d", section->name, before->line,
			              section->line);
		take_entries(f, section, section->name, s);
	}
}

/* The file that the user named, or the first that is there. -1: none, or it cannot be read (a fault tells). */
static int find_file(struct settings *s, struct inifile *f, const char *path)
{
	static const char *const places[] = { "./unstuck.ini", "/etc/unstuck/unstuck.ini" };
	const char *env = getenv("UNSTUCK_CONFIG"), *by = path ? " (named by -c)" : " (named by UNSTUCK_CONFIG)";
	struct error err = ERROR_INIT;

	if (path == NULL && env != NULL && env[0] != '\0')
		path = env;
	for (size_t i = 0; path == NULL && i < ARRAY_SIZE(places); i++) {
		if (access(places[i], F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
		path = places[i];
		by = "";
	}
	if (path == NULL)
		return -1;
	free(s->path);
	s->path = xstrdup(path);
	if (inifile_load(f, path, &err) < 0) {
		inifile_fault(f, INIFILE_NO_LINE, "%s: %s%s", path, err.text, by);
		return -1;
	}
	return 0;
}

static void take_variable(struct settings *s, struct inifile *f, const struct setting *row, const char *name)
{
	const char *value = getenv(name);
	struct error why = ERROR_INIT;

	if (value != NULL && value[0] != '\0' && setting_put(row, s, value, &why) < 0)
		tell_bad_value(f, INIFILE_NO_LINE, row, name, " = ", value, &why);
}

char *settings_variable(const struct setting *row)
{
	char *name = xasprintf("UNSTUCK_%s_%s", row->section, row->key);

	for (char *p = name; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return name;
}

/* Names in the environment that can only be meant for us, and are nothing of ours. */
static void tell_unknown_variables(struct inifile *f, char *const *names, size_t n)
{
	static const char *const ours[] = { "UNSTUCK_UNSTUCK_", "UNSTUCK_WORKER_", "UNSTUCK_RECOVER_", "UNSTUCK_HTTP_" };

	for (char **e = environ; e != NULL && *e != NULL; e++) {
		char *name = xstrndup(*e, strcspn(*e, "="));
		bool meant = false, known = strlen(name) + 1 >= strlen(*e);	/* empty: not set */
		struct buf shown = BUF_INIT;

		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			meant = meant || strncmp(name, ours[i], strlen(ours[i])) == 0;
		for (size_t i = 0; meant && !known && i < n; i++)
			known = strcmp(name, names[i]) == 0;
		if (meant && !known) {
			const char *near = words_nearest(name, (const char *const *)names, n);

			setting_show(&shown, name);
			inifile_fault(f, INIFILE_NO_LINE, "%s in the environment: no such setting%s%s%s", buf_text(&shown),
			              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
		}
		buf_release(&shown);
		free(name);
	}
}

static void take_environment(struct settings *s, struct inifile *f)
{
	char *names[SETTING_ROWS_MAX];
	size_t n = 0;

	take_variable(s, f, setting_find("unstuck", "database_url"), "DATABASE_URL");
	for (size_t i = 0; i < setting_rows_len; i++) {
		if (of_queue(&setting_rows[i]))
			continue;
		names[n] = settings_variable(&setting_rows[i]);
		take_variable(s, f, &setting_rows[i], names[n++]);
	}
	tell_unknown_variables(f, names, n);
	while (n > 0)
		free(names[--n]);
}

static void take_flags(struct settings *s, struct inifile *f, const struct flag_setting *flags)
{
	for (; flags != NULL && flags->key != NULL; flags++) {
		const struct setting *row = setting_of(flags->key);
		struct error why = ERROR_INIT;

		if (row == NULL)
			inifile_fault(f, INIFILE_NO_LINE, "%s: no setting is called %s", flags->flag, flags->key);
		else if (setting_put(row, s, flags->value, &why) < 0)
			tell_bad_value(f, INIFILE_NO_LINE, row, flags->flag, " ", flags->value, &why);
	}
}

int settings_load(struct settings *s, const char *path, const struct flag_setting *flags,
                  struct problems *problems)
{
	struct inifile file = INIFILE_INIT;
	size_t faults;

	*s = (struct settings){ .path = xstrdup("") };
	put_defaults(s, false);
	if (find_file(s, &file, path) == 0)
		take_sections(s, &file);
	take_environment(s, &file);
	take_flags(s, &file, flags);
	settings_check(s, &file, flags);

	inifile_sort_faults(&file);
	faults = file.faults_len;
	for (size_t i = 0; i < faults; i++) {
		if (file.faults[i].line == INIFILE_NO_LINE)
			problems_add(problems, "%s", file.faults[i].text);
		else
			problems_add(problems, "%s:%d: %s", s->path, file.faults[i].line, file.faults[i].text);
	}
	inifile_release(&file);
	return faults == 0 ? 0 : -1;
}
