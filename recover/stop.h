/*
 * stop.h - the one flag that TERM and INT set, and sleeping that ends with it.
 *
 * The first signal also cancels the statement under way; the second one ends
 * the program at once (every write is one transaction, so nothing is half done).
 */
#ifndef STOP_H
#define STOP_H

#include <libpq-fe.h>
#include <stdbool.h>
#include "clock.h"
#include "error.h"

int stop_init(struct error *err);
bool stop_asked(void);
bool stop_sleep(usec_t howlong);	/* returns stop_asked(), at once when a signal comes */
int stop_fd(void);			/* readable once a signal came: for poll() */
int stop_watch(PGconn *conn, struct error *err);	/* cancel its statement on a signal; NULL: no more */

#endif
