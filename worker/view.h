#ifndef VIEW_H
#define VIEW_H
#include "worker.h"
struct view;
struct view *view_new(struct worker *w);
void view_free(struct view *v);
bool view_ask(struct view *v);
bool view_is_reading(const struct view *v);
usec_t view_advance(struct view *v, usec_t now);
void view_stop(struct view *v);
#endif
