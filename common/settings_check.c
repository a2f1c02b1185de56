/*
 * settings_check.c - settings that are right one by one and wrong together.
 *
 * Lives here: rules over several settings; what this version does not have.
 * Not here:   the range of one value (settings_table.c); what the database
 *             says of a mapping (mapping.c).
 */
#include <stdlib.h>
#include <string.h>
#include "settings_check.h"

/* One queue under examination, with its section of the file. */
struct exam {
	const struct settings *s;
	const struct queue_settings *q;
	const struct ini_section *section;
	struct inifile *f;
};

/* What the section says for key; NULL when it says nothing, or nothing after the =. */
static const struct ini_entry *entry_of(const struct ini_section *s, const char *key)
{
	for (size_t i = 0; s != NULL && i < s->len; i++)
		if (strcmp(s->entries[i].key, key) == 0 && s->entries[i].value[0] != '\0')
			return &s->entries[i];
	return NULL;
}

static const struct ini_section *section_of(const struct inifile *f, const char *name)
{
	for (size_t i = 0; i < f->len; i++)
		if (strcmp(f->sections[i].name, name) == 0)
			return &f->sections[i];
	return NULL;
}

static int line_of(const struct exam *x, const char *key)
{
	const struct ini_entry *e = entry_of(x->section, key);

	return e ? e->line : x->section->line;
}

static void check_mapped_keys(const struct exam *x)
{
	if (entry_of(x->section, "table") != NULL)
		return;
	for (size_t i = 0; i < x->section->len; i++) {
		const struct ini_entry *e = &x->section->entries[i];
		const struct setting *row = setting_find("queue", e->key);

		if (row != NULL && row->mapped)
			inifile_fault(x->f, e->line, "[queue %s] %s: only for a queue on a table of yours; set table too", x->q->name,
			              e->key);
	}
}

static void check_ready(const struct exam *x)
{
	const struct queue_settings *q = x->q;

	if (entry_of(x->section, "table") != NULL && entry_of(x->section, "ready") == NULL)
		inifile_fault(x->f, line_of(x, "table"), "[queue %s] table is set and ready is not: write ready = and the states "
		              "to claim jobs from, as in ready = PENDING", q->name);
	for (char **a = q->ready; *a != NULL; a++)
		for (char **b = q->ready; b < a; b++)
			if (strcmp(*a, *b) == 0)
				inifile_fault(x->f, line_of(x, "ready"), "[queue %s] ready: %s stands twice", q->name, *a);
}

static bool has_word(char *const *words, const char *word)
{
	for (; *words != NULL; words++)
		if (strcmp(*words, word) == 0)
			return true;
	return false;
}

/* A state in two roles would be claimed for ever, or never be seen as stuck. */
static void check_states(const struct exam *x)
{
	const struct queue_settings *q = x->q;
	const struct { const char *key, *state; bool may_be_ready; } roles[] = {
		{ "processing", q->processing, false },
		{ "done", q->done, false },
		{ "failed", q->failed, false },
		{ "reset_to", q->reset_to, true },
	};

	for (size_t i = 0; q->table[0] != '\0' && i < ARRAY_SIZE(roles); i++) {
		if (!roles[i].may_be_ready && has_word(q->ready, roles[i].state))
			inifile_fault(x->f, line_of(x, roles[i].key), "[queue %s] %s = %s: is one of ready too; "
			              "its rows would be claimed again", q->name, roles[i].key, roles[i].state);
		if (i > 0 && strcmp(roles[i].state, q->processing) == 0)
			inifile_fault(x->f, line_of(x, roles[i].key), "[queue %s] %s = %s: is the processing state too",
			              q->name, roles[i].key, roles[i].state);
	}
}

static void check_result(const struct exam *x)
{
	if (x->q->result[0] != '\0' && x->q->on_success[0] != '\0')
		inifile_fault(x->f, line_of(x, "on_success"), "[queue %s] result and on_success are both set: the result goes "
		              "to one of them", x->q->name);
}

/* Set, or tried: then the fault is there. */
static bool has_redis(const struct settings *s, const struct inifile *f)
{
	return s->redis_url[0] != '\0' || entry_of(section_of(f, "unstuck"), "redis_url") != NULL;
}

static void check_rate(const struct exam *x)
{
	if (x->q->rate.n > 0 && !has_redis(x->s, x->f))
		inifile_fault(x->f, line_of(x, "rate"), "[queue %s] rate needs Redis: set [unstuck] redis_url, or take rate out",
		              x->q->name);
}

/* What a handler printed, and how it ended, must be on the disk by then. */
static void check_death(const struct exam *x)
{
	if (x->q->on_worker_death == DEATH_FINISH && (x->q->mode != MODE_EXEC || !queue_spools_always(x->q)))
		inifile_fault(x->f, line_of(x, "on_worker_death"), "[queue %s] on_worker_death = finish needs mode = exec and "
		              "spool = always", x->q->name);
}

static void check_queue(const struct exam *x)
{
	check_death(x);
	check_mapped_keys(x);
	check_ready(x);
	check_states(x);
	check_result(x);
	check_rate(x);
}

/* Where the value of a setting came from. */
struct origin {
	const char *flag;	/* borrowed; NULL: none */
	char *variable;		/* NULL: none */
	int line;		/* of the file; INIFILE_NO_LINE: not from there */
	char *key;		/* "[worker] heartbeat" */
};

static struct origin origin_of(const struct inifile *f, const struct flag_setting *flags, const struct setting *row)
{
	struct origin o = { .variable = settings_variable(row), .line = INIFILE_NO_LINE };
	const struct ini_entry *e = entry_of(section_of(f, row->section), row->key);
	const char *value = getenv(o.variable);

	for (; flags != NULL && flags->key != NULL; flags++)
		if (setting_of(flags->key) == row)
			o.flag = flags->flag;
	if (value == NULL || value[0] == '\0') {
		free(o.variable);
		o.variable = NULL;
	}
	if (o.flag == NULL && o.variable == NULL && e != NULL)
		o.line = e->line;
	o.key = xasprintf("[%s] %s", row->section, row->key);
	return o;
}

static void origin_release(struct origin *o)
{
	free(o->variable);
	free(o->key);
}

static bool origin_is_default(const struct origin *o)
{
	return o->flag == NULL && o->variable == NULL && o->line == INIFILE_NO_LINE;
}

static const char *origin_name(const struct origin *o)
{
	return o->flag ? o->flag : o->variable ? o->variable : o->key;
}

static void check_heartbeat(const struct settings *s, struct inifile *f, const struct flag_setting *flags)
{
	struct origin timeout = origin_of(f, flags, setting_find("worker", "worker_timeout"));
	struct origin beat = origin_of(f, flags, setting_find("worker", "heartbeat"));
	char is[USEC_TEXT_MAX], least[USEC_TEXT_MAX], every[USEC_TEXT_MAX];

	if (s->worker_timeout < 3 * s->heartbeat)
		inifile_fault(f, origin_is_default(&timeout) ? beat.line : timeout.line,
		              "%s = %s%s: must be at least 3 heartbeats: %s, with %s = %s", origin_name(&timeout),
		              usec_text(s->worker_timeout, is), origin_is_default(&timeout) ? " (its default)" : "",
		              usec_text(3 * s->heartbeat, least), origin_name(&beat), usec_text(s->heartbeat, every));
	origin_release(&timeout);
	origin_release(&beat);
}

static void check_wake(const struct settings *s, struct inifile *f, const struct flag_setting *flags)
{
	struct origin wake = origin_of(f, flags, setting_find("worker", "wake"));

	if (s->wake == WAKE_REDIS && !has_redis(s, f))
		inifile_fault(f, wake.line, "%s = redis needs [unstuck] redis_url", origin_name(&wake));
	origin_release(&wake);
}

void settings_check(struct settings *s, struct inifile *f, const struct flag_setting *flags)
{
	check_heartbeat(s, f, flags);
	check_wake(s, f, flags);
	for (size_t i = 0; i < s->queues_len; i++) {
		struct queue_settings *q = &s->queues[i];
		struct exam x = { s, q, NULL, f };

		if (q->reset_to[0] == '\0' && q->ready[0] != NULL) {
			free(q->reset_to);
			q->reset_to = xstrdup(q->ready[0]);
		}
		for (size_t k = 0; k < f->len; k++)
			if (f->sections[k].line == q->line)
				x.section = &f->sections[k];
		if (x.section != NULL)
			check_queue(&x);
	}
}
