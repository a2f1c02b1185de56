/*
 * answer.c - what a line of a serve handler says about its job. Not here: whose line it is (serve.c),
 * finding its members (jsonl.c).
 */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "outcome.h"

void answer_progress(struct job *j, const struct jsonl_text *t)
{
	char number[32];

	snprintf(number, sizeof number, "%.*s", (int)t->len, t->at);
	j->progress = strtod(number, NULL);
	log_event(LOG_DEBUG, "job_progress", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("attempt", j->attempt), LS("progress", number));
}

/* "30s", "1m30s"; a bare number is seconds too. */
static bool read_delay(const struct jsonl_text *t, usec_t *out)
{
	struct buf text = BUF_INIT;
	bool right;

	if (!jsonl_string(t, &text)) {
		buf_clear(&text);
		buf_add(&text, t->at, t->len);
	}
	right = usec_parse(buf_text(&text), out) == 0;
	buf_release(&text);
	return right;
}

static char *read_error(const struct jsonl_text *t)
{
	struct buf text = BUF_INIT, clean = BUF_INIT;

	if (t->at == NULL || jsonl_is(t, "null"))
		return xstrdup("the handler failed it without saying why");
	if (!jsonl_string(t, &text)) {
		buf_clear(&text);
		buf_add(&text, t->at, t->len);
	}
	utf8_clean(&clean, buf_text(&text), text.len, 2 * CHILD_TAIL);
	buf_release(&text);
	return buf_give(&clean);
}

void answer_failed(struct job *j, const struct jsonl_answer *a)
{
	bool never = jsonl_is(&a->retry, "false");
	usec_t delay;

	outcome_failed(j, never ? OUTCOME_FAIL : OUTCOME_RETRY, read_error(&a->error));
	if (a->retry.at != NULL && !never && !jsonl_is(&a->retry, "true") && !jsonl_is(&a->retry, "null"))
		log_event(LOG_WARNING, "answer_odd", LS("queue", j->queue->set->name), LS("job", j->id),
		          LS("why", "\"retry\" is neither true nor false"), LS("next", "taken as true"));
	if (never || a->delay.at == NULL || jsonl_is(&a->delay, "null"))
		return;
	if (read_delay(&a->delay, &delay))
		j->outcome.delay = delay;
	else
		log_event(LOG_WARNING, "answer_odd", LS("queue", j->queue->set->name), LS("job", j->id),
		          LS("why", "\"delay\" is no duration like \"30s\""), LS("next", "the queue's backoff is taken"));
}

void answer_done(struct job *j, const struct jsonl_text *result)
{
	if (result->at == NULL)
		buf_adds(&j->out, "null");
	else
		buf_add(&j->out, result->at, result->len);
	if (j->out.len > j->queue->set->max_result)
		outcome_too_large(j);
	else
		outcome_result(j);
}
