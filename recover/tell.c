/*
 * tell.c - where the messages of a run go.
 *
 * A run that somebody started speaks in lines on stderr; a scheduled one in log
 * events. Not here: the report (report_*.c).
 */
#include "tell.h"

#include <stdarg.h>
#include <string.h>
#include "log.h"

bool is_scheduled(const struct recover *ask)
{
	return ask->opt->every != USEC_NEVER;
}

bool is_quiet(const struct recover *ask)
{
	return ask->cli->common.verbose < 0;
}

static const struct {
	const char *sqlstate, *remedy;
} remedies[] = {
	{ "42501", "; grant it to this user, or connect as one with the role unstuck_recover" },
	{ "25006", "; connect to the primary (target_session_attrs=read-write)" },
	{ "57014", "; a smaller --batch may fit into the statement timeout" },
	{ "53300", "; try again when fewer sessions are open" },
};

const char *remedy_for(const char *sqlstate)
{
	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
		if (strcmp(remedies[i].sqlstate, sqlstate) == 0)
			return remedies[i].remedy;
	return "";
}

void tell_note(const struct recover *ask, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	if (is_quiet(ask))
		return;
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (is_scheduled(ask))
		log_event(LOG_INFO, "recover_note", LS("text", buf_text(&text)));
	else
		cli_complain(ask->cli, "%s", buf_text(&text));
	buf_release(&text);
}

void tell_error(const struct recover *ask, const char *queue, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (is_scheduled(ask))
		log_event(LOG_ERROR, "recover_failed", LS("queue", queue), LS("error", buf_text(&text)));
	else if (queue != NULL)
		cli_complain(ask->cli, "queue %s: %s", queue, buf_text(&text));
	else
		cli_complain(ask->cli, "%s", buf_text(&text));
	buf_release(&text);
}

void tell_cause(const struct recover *ask, const char *queue, const struct error *why)
{
	tell_error(ask, queue, "%s%s", why->text, remedy_for(why->sqlstate));
}
