/*
 * replay_judge.c - see replay_judge.h. The rules are those of worker/exec.c for a handler that nobody ended.
 */
#include "replay_judge.h"

#include <string.h>
#include <sys/wait.h>
#include "late.h"
#include "printed.h"

#define EXIT_LATER 75			/* EX_TEMPFAIL: try again later */
#define EXIT_NEVER 65			/* EX_DATAERR: never try again */

static void failed(struct spool_record *r, enum spool_kind kind, const char *reason, usec_t delay)
{
	r->kind = kind;
	r->reason = reason;
	r->delay = kind == SPOOL_FAIL ? 0 : delay;
	if (reason == NULL)
		r->bytes_len = 0;
}

static void judge_success(const struct queue_settings *set, struct spool_record *r, struct buf *bytes, struct buf *error)
{
	if (bytes->len > set->max_result) {
		buf_addf(error, "the output is larger than max_result (%llu bytes)", (unsigned long long)set->max_result);
		failed(r, SPOOL_FAIL, late_name(LATE_TOO_LARGE), 0);
	} else if (!utf8_valid(buf_text(bytes), bytes->len)) {
		buf_adds(error, "the output holds a NUL byte or is no valid UTF-8; JSON text was expected");
		failed(r, SPOOL_FAIL, late_name(LATE_BAD_DATA), 0);
	} else {
		printed_result(bytes, r->text);
		r->kind = SPOOL_DONE;
		r->bytes = buf_text(bytes);
		r->bytes_len = bytes->len;
	}
}

/* It may have been a whole result when it was ended. */
static const char *kept_as(const struct queue_settings *set, const struct spool_record *r)
{
	if (r->bytes_len == 0)
		return NULL;
	return late_name(r->bytes_len > set->max_result ? LATE_TOO_LARGE : LATE_UNFINISHED);
}

static void judge_failure(const struct queue_settings *set, struct spool_record *r, struct buf *error)
{
	char limit[USEC_TEXT_MAX];
	int code = WIFEXITED(r->status) && !(r->status & SPOOL_OVERDUE) ? WEXITSTATUS(r->status) : -1;

	if (r->status & SPOOL_OVERDUE)
		buf_addf(error, "the handler ran longer than its timeout of %s and was ended", usec_text(set->timeout, limit));
	else if (WIFSIGNALED(r->status))
		buf_addf(error, "the handler was ended by signal %d (%s)", WTERMSIG(r->status), strsignal(WTERMSIG(r->status)));
	else
		buf_addf(error, "the handler ended with exit status %d", code);
	buf_adds(error, "; its worker had died before, and what it said on stderr is lost");
	failed(r, code == EXIT_LATER ? SPOOL_LATER : code == EXIT_NEVER ? SPOOL_FAIL : SPOOL_RETRY,
	       r->status & SPOOL_OVERDUE || ended_from_outside(r->status) ? kept_as(set, r) : NULL, usec_jitter(set->backoff, 0.1));
}

bool replay_judge(const struct settings *s, struct spool_record *r, struct buf *bytes, struct buf *error)
{
	const struct queue_settings *set = NULL;

	for (size_t i = 0; i < s->queues_len; i++)
		if (strcmp(s->queues[i].name, r->queue) == 0)
			set = &s->queues[i];
	if (set == NULL)
		return false;
	if (bytes->len > r->printed) {	/* by somebody whom it left behind */
		bytes->len = (size_t)r->printed;
		bytes->data[bytes->len] = '\0';
	}
	r->bytes = buf_text(bytes);
	r->bytes_len = bytes->len;
	if (r->status == 0)
		judge_success(set, r, bytes, error);
	else
		judge_failure(set, r, error);
	r->error = error->len > 0 ? buf_text(error) : NULL;
	return true;
}
