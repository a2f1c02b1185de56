/*
 * rescue.h - every worker also recovers the stuck jobs of its own queues, so that a
 * forgotten cron line does not leave them for ever. The same statements as unstuck-recover.
 */
#ifndef RESCUE_H
#define RESCUE_H

#include "worker.h"

void rescue_init(struct worker *w, usec_t now);
usec_t rescue_advance(struct worker *w, usec_t now);
bool rescue_is_idle(const struct worker *w);

#endif
