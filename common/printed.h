/*
 * printed.h - what a handler printed as the result that is stored, and whose doing its end was: for whoever saw that end, and for
 * whoever finds it in the spool later.
 */
#ifndef PRINTED_H
#define PRINTED_H

#include <stdbool.h>
#include "buf.h"

/*
 * out holds valid UTF-8 without NUL. Nothing (but blanks) is null; text becomes a JSON string without the blanks at its end. Whether
 * anything else is JSON is for the database to say, which knows best.
 */
void printed_result(struct buf *out, bool text);

/* A wait status: by a TERM, INT or KILL, so its end says nothing about what it had printed until then. */
bool ended_from_outside(int status);

#endif
