/*
 * layout.h - a file of SQL in named sections ("-- name: claim"): one layout of the jobs
 * table for the floor, with the statements that use it.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

struct layout {
	char *text;		/* the whole file; sections point into it */
	struct { const char *name, *sql; } section[16];
	int sections;
};

/* Ends the program when the file cannot be read. */
void layout_read(struct layout *layout, const char *path);

/* NULL when there is no such section. */
const char *layout_find(const struct layout *layout, const char *name);
const char *layout_must_find(const struct layout *layout, const char *name);

void layout_free(struct layout *layout);

#endif
