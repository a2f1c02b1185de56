/*
 * spools.h - results that dead workers left on this host are stored before their rows are looked at.
 */
#ifndef SPOOLS_H
#define SPOOLS_H

#include "run.h"

/* One line when there was something; a dry run only tells. -1: the database went away (r->error). */
int spools_replay(struct run *r);

#endif
