/*
 * top_view.h - the document of top_data.h as lines of text. Pure: no terminal, no database.
 */
#ifndef TOP_VIEW_H
#define TOP_VIEW_H

#include <jansson.h>
#include <stddef.h>
#include "buf.h"

enum look { PLAIN, TITLE, BAD, FAINT };

struct view_line {
	enum look look;
	char *text;		/* printable, at most as wide as was asked */
};

struct view {
	struct view_line *v;
	size_t len;
};
#define VIEW_INIT { NULL, 0 }
void view_release(struct view *v);

/* Totals in one line: what is stuck first. */
void view_totals(struct buf *out, const json_t *document);
/* What is stuck, queues, workers, running jobs. width 0: no line is cut. */
void view_fill(struct view *v, const json_t *document, size_t width);

/*
 * text into out, padded or cut ("~" at its end) to so many columns of the terminal; width 0: neither. What is not printable is
 * shown as \xNN, so that no text from outside can move the cursor.
 */
void view_cell(struct buf *out, const char *text, size_t width, bool right);

#endif
