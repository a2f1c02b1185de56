/*
 * claim.h - when to claim, how many, and turning claimed rows into jobs.
 *
 * No more than the handlers have room for (handler.h): what is claimed is started at
 * once (or, where jobs are shorter than a claim's round trip, within about one), so that no
 * job waits behind a long one while another worker is idle.
 */
#ifndef CLAIM_H
#define CLAIM_H

#include "worker.h"

usec_t claim_advance(struct worker *w, usec_t now);	/* returns when a claim is due next */
bool claim_goes_now(struct worker *w, struct queue *q, usec_t now);	/* what claim_advance() will do for this queue */
void claim_wake(struct worker *w, const char *queue);	/* told of new jobs; NULL: any queue */
void claim_due(struct queue *q, usec_t at);		/* a job will be ready then: look no later */
bool claim_is_open(const struct worker *w);
bool claim_is_idle(const struct worker *w);		/* no claim under way */
bool claim_found_nothing(const struct worker *w);	/* every queue's last claim found all there was */

#endif
