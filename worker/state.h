/*
 * state.h - /api/state: what this worker does and what it knows of the others, as one JSON document.
 */
#ifndef STATE_H
#define STATE_H

#include "worker.h"

struct view;

char *state_text(struct worker *w, struct view *v);	/* caller frees; NULL: no memory for it */

#endif
