/*
 * state_lists.h - the lists of /api/state. Each function gives a new JSON array.
 */
#ifndef STATE_LISTS_H
#define STATE_LISTS_H

#include <jansson.h>
#include "worker.h"

struct view;

json_t *state_string(const char *text);		/* valid UTF-8, whatever text holds; null for NULL */
json_t *state_queues(const struct worker *w, const struct view *v);
json_t *state_workers(const struct view *v);
json_t *state_running(const struct worker *w, const struct view *v);
json_t *state_stuck(const struct view *v);
json_t *state_failures(const struct view *v);
json_t *state_late(const struct view *v);

#endif
