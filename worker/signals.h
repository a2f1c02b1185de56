/*
 * signals.h - signals reach the worker through the loop, never inside other code.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "worker.h"

int signals_open(struct worker *w, struct error *err);
void signals_close(void);

#endif
