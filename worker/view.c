#include "view.h"
struct view *view_new(struct worker *w) { (void)w; return NULL; }
void view_free(struct view *v) { (void)v; }
bool view_ask(struct view *v) { (void)v; return false; }
bool view_is_reading(const struct view *v) { (void)v; return false; }
usec_t view_advance(struct view *v, usec_t now) { (void)v; (void)now; return USEC_NEVER; }
void view_stop(struct view *v) { (void)v; }
