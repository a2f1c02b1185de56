#ifndef METRICS_H
#define METRICS_H
#include "worker.h"
struct view;
void metrics_text(struct buf *out, struct worker *w, struct view *v);
#endif
