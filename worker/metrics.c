#include "metrics.h"
void metrics_text(struct buf *out, struct worker *w, struct view *v)
{
	(void)w, (void)v;
	buf_adds(out, "# HELP unstuck_up The worker has its database.\n# TYPE unstuck_up gauge\nunstuck_up 1\n");
}
