/*
 * adoption.h - late results whose jobs are not running: adopted behind every reset, or on a dry run counted.
 */
#ifndef ADOPTION_H
#define ADOPTION_H

#include "run.h"

/* An error stays with its queue and is told: the workers adopt too. -1: the database went away (r->error). */
int adoption_run(struct run *r);

#endif
