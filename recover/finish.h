/*
 * finish.h - what comes after a run: the report, and the command for stuck jobs.
 */
#ifndef FINISH_H
#define FINISH_H

#include "run.h"

/* Print the report of a run to stdout as the options want it. */
void finish_print(const struct run *r);

/* When something was stuck and this was no dry run, --on-stuck or its setting. Its failure is a warning. */
void finish_on_stuck(const struct run *r);

#endif
