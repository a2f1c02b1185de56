/*
 * job.c - the life of struct job. Not here: running it (exec.c), writing it (store.c).
 */
#include "job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct job *job_new(struct queue *q, const char *id, int64_t claim_id, const worker_id worker)
{
	size_t id_size = strlen(id) + 1;
	struct job *j = xcalloc(1, sizeof *j + id_size);

	j->queue = q;
	j->id = memcpy(j + 1, id, id_size);
	j->claim_id = claim_id;
	memcpy(j->worker, worker, sizeof j->worker);
	j->end_at = USEC_NEVER;
	j->progress = NAN;
	return j;
}

void job_free(struct job *j)
{
	if (j == NULL)
		return;
	free(j->payload);
	buf_release(&j->out);
	buf_release(&j->outcome.result);
	buf_release(&j->outcome.raw);
	free(j->outcome.error);
	free(j);
}

const char *outcome_kind_name(enum outcome_kind k)
{
	switch (k) {
	case OUTCOME_DONE:    return "done";
	case OUTCOME_RETRY:   return "retry";
	case OUTCOME_FAIL:    return "fail";
	case OUTCOME_LATER:   return "later";
	case OUTCOME_RELEASE: return "release";
	}
	return "";
}
