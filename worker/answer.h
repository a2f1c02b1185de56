/*
 * answer.h - what a line of a serve handler says about its job: j->progress or j->outcome.
 */
#ifndef ANSWER_H
#define ANSWER_H

#include "jsonl.h"
#include "queue.h"

void answer_progress(struct job *j, const struct jsonl_text *t);
void answer_done(struct job *j, const struct jsonl_text *result);	/* "ok":true; no result is null */
void answer_failed(struct job *j, const struct jsonl_answer *a);	/* "ok":false with error, retry, delay */

#endif
