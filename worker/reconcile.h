/*
 * reconcile.h - comparing what the database says we hold with what we know.
 *
 * Needed because a live worker's rows are nobody's to recover: a claim whose
 * reply was lost would stay PROCESSING as long as we live (it is released),
 * and a job taken from us would be worked on twice (its child is ended).
 */
#ifndef RECONCILE_H
#define RECONCILE_H

#include "worker.h"

void reconcile(struct worker *w);	/* one question a queue; with each beat, and after each reconnect */

#endif
