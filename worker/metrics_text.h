/*
 * metrics_text.h - /metrics: one table of all metrics, as Prometheus reads them, and the list of them for docs/.
 */
#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

#include "worker.h"

struct view;

void metrics_text(struct buf *out, const struct worker *w, const struct view *v);	/* appended */
void metrics_markdown(struct buf *out);		/* docs/metrics.md, of `make docs` */

#endif
