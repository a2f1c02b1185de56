/*
 * enqueue.h - what one job (enqueue.c) and many (lines.c) share.
 */
#ifndef ENQUEUE_H
#define ENQUEUE_H

#include "buf.h"
#include "ctl.h"

/* Each line of stdin is one payload: all of them in one transaction, or none. */
enum exit_status enqueue_lines(struct ctl *ctl);

/* PostgreSQL's message, its detail and the place in the document (with its line in there), on one line. */
void enqueue_explain(struct buf *out, const PGresult *res, bool with_line);
/* --delay in seconds as text (caller frees), NULL when not given. */
char *enqueue_delay(const struct options *o);
/* The error is about --run-at. */
bool enqueue_about_time(const char *sqlstate);

#endif
