/*
 * report.h - the report of a run: JSON for programs, a table for people.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdio.h>
#include "buf.h"
#include "run.h"

/* One JSON document on one line, without a newline. */
void report_json(struct buf *out, const struct run *r);

/* The queues and their stuck rows. */
void report_table(FILE *out, const struct run *r);

/* "recovered 2 (1 reset, 1 failed), 0 skipped", or what else there is to say at the end. */
void report_summary(FILE *out, const struct run *r);

/* The command that does what a dry run showed, ready for a shell; a password in it is left out. */
void report_command(struct buf *out, const struct recover *ask);

#endif
