/*
 * view_queues.h - the numbers of each queue, from the statements of a reading.
 */
#ifndef VIEW_QUEUES_H
#define VIEW_QUEUES_H

#include "view.h"

enum depth { DEPTH_PENDING, DEPTH_PROCESSING, DEPTH_COMPLETED, DEPTH_FAILED, DEPTH_CANCELLED, DEPTHS };
extern const char *const depth_name[DEPTHS];

#define UNKNOWN (-1)

struct view_queue {
	char *name;
	int64_t depth[DEPTHS];				/* UNKNOWN where it is; so the others */
	int64_t ready, later, stuck, late, workers;
	double oldest_pending, oldest_processing;	/* seconds; NAN: none, or not known */
	const char *error;				/* of one of its statements; borrowed from the parts */
};

/* Caller frees with view_queues_free(). */
struct view_queue *view_queues_new(const struct view_part *parts, size_t len, size_t *queues_len);
void view_queues_free(struct view_queue *queues, size_t len);

/* Text of a column by its name; NULL where it is null. */
const char *view_text(const PGresult *rows, int row, const char *column);

#endif
