/*
 * outcome.c - what a handler's end means for its job. Not here: when it is over.
 */
#include "outcome.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "printed.h"

static usec_t outcome_backoff(const struct job *j)
{
	const struct queue_settings *set = j->queue->set;
	usec_t delay = set->backoff;

	for (int i = 0; i < j->failures && delay < set->backoff_max; i++)
		delay *= 2;
	return usec_jitter(usec_min(delay, set->backoff_max), 0.1);
}

/* The handler's own words, if it left any, behind ours. */
char *outcome_text(const char *what, const struct child_end *said)
{
	struct buf b = BUF_INIT;
	size_t len = said->tail_len;

	buf_adds(&b, what);
	while (len > 0 && isspace((unsigned char)said->tail[len - 1]))
		len--;
	if (len > 0) {
		buf_adds(&b, ": ");
		utf8_clean(&b, said->tail, len, 2 * CHILD_TAIL);
	}
	return buf_give(&b);
}

void outcome_failed(struct job *j, enum outcome_kind kind, char *error)
{
	j->outcome.kind = kind;
	j->outcome.error = error;
	j->outcome.delay = kind == OUTCOME_FAIL ? 0 : outcome_backoff(j);
}

static void outcome_bytes(struct job *j, enum late_reason reason)
{
	j->outcome.late_reason = reason;
	j->outcome.raw = j->out;
	j->out = (struct buf)BUF_INIT;
}

void outcome_rejected(struct job *j, enum late_reason reason, char *error)
{
	outcome_failed(j, OUTCOME_FAIL, error);
	outcome_bytes(j, reason);
}

void outcome_keep(struct job *j)
{
	if (j->out.len > 0)
		outcome_bytes(j, j->cut ? LATE_TOO_LARGE : LATE_UNFINISHED);
}

void outcome_too_large(struct job *j)
{
	outcome_rejected(j, LATE_TOO_LARGE, xasprintf("the output is larger than max_result (%llu bytes)",
	                                           (unsigned long long)j->queue->set->max_result));
}

void outcome_timeout(struct job *j, const struct child_end *said)
{
	char limit[USEC_TEXT_MAX];
	char *what = xasprintf("the handler ran longer than its timeout of %s and was ended",
	                       usec_text(j->queue->set->timeout, limit));

	outcome_failed(j, OUTCOME_RETRY, outcome_text(what, said));
	free(what);
}

static bool outcome_is_text(struct job *j)
{
	if (utf8_valid(buf_text(&j->out), j->out.len))
		return true;
	outcome_rejected(j, LATE_BAD_DATA,
	                 xstrdup("the output holds a NUL byte or is no valid UTF-8; JSON text was expected"));
	return false;
}

/* Whether it is JSON is for the database to say, which knows best. */
void outcome_result(struct job *j)
{
	if (!outcome_is_text(j))
		return;
	j->outcome.kind = OUTCOME_DONE;
	j->outcome.result = j->out;
	j->out = (struct buf)BUF_INIT;
}

void outcome_printed(struct job *j)
{
	if (!outcome_is_text(j))
		return;
	printed_result(&j->out, j->queue->set->output == OUTPUT_TEXT);
	outcome_result(j);
}
