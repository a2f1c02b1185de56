/*
 * state.h - /api/state: what this worker does, and what it knows of all queues, workers and jobs, as one JSON document.
 *
 * Its own jobs are told as they are now, all else as the view has it, with the view's age. Every member is always there;
 * null is what is not known. Texts from outside are made valid UTF-8; whoever shows them escapes them.
 */
#ifndef STATE_H
#define STATE_H

#include "worker.h"

struct view;
struct state;

struct state *state_new(struct worker *w);
void state_free(struct state *s);
void state_note(struct state *s);			/* once a turn: since when the worker's state is what it is */
char *state_text(struct state *s, struct view *v);	/* caller frees; NULL: it could not be made */

#endif
