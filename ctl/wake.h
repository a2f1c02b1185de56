/*
 * wake.h - telling workers of new jobs by Redis, when there is one: only a hint. PostgreSQL tells those that listen
 * there by itself.
 */
#ifndef WAKE_H
#define WAKE_H

#include "ctl.h"

/* After the commit. Not told is a warning: the jobs are found at the next poll. */
void wake_tell(struct ctl *ctl, const char *queue);

#endif
