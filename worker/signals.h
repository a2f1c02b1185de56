/*
 * signals.h - signals reach the worker through the loop, never inside other code.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "worker.h"

/* Until the loop runs they wait: none of them ends a start halfway. A stop that waits is asked for. */
void signals_hold(void);
bool signals_stop_waits(void);

int signals_open(struct worker *w, struct error *err);	/* those that waited come now */
void signals_close(void);

#endif
