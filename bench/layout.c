/*
 * layout.c - see layout.h.
 */
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "must.h"

#define TEXT_MAX (256 * 1024)
#define MARK "-- name: "
#define SECTIONS_MAX (int)(sizeof((struct layout *)0)->section / sizeof *((struct layout *)0)->section)

static char *read_all(const char *path)
{
	char *text = must_alloc(1, TEXT_MAX);
	FILE *file = fopen(path, "r");
	size_t len;

	if (file == NULL)
		die("cannot open %s", path);
	len = fread(text, 1, TEXT_MAX - 1, file);
	text[len] = '\0';
	(void)fclose(file);
	return text;
}

/* Ends the section before at the mark, and the name at its line. Returns where its SQL begins. */
static char *cut(struct layout *layout, char *mark)
{
	char *name = mark + strlen(MARK);
	char *end = strchr(name, '\n');

	if (end == NULL || layout->sections == SECTIONS_MAX)
		die("bad section: %s", name);
	*mark = '\0';
	*end = '\0';
	layout->section[layout->sections].name = name;
	layout->section[layout->sections++].sql = end + 1;
	return end + 1;
}

void layout_read(struct layout *layout, const char *path)
{
	char *mark;

	memset(layout, 0, sizeof *layout);
	layout->text = read_all(path);
	mark = layout->text;
	while ((mark = strstr(mark, MARK)) != NULL)
		mark = cut(layout, mark);
}

const char *layout_find(const struct layout *layout, const char *name)
{
	int i;

	for (i = 0; i < layout->sections; i++)
		if (strcmp(layout->section[i].name, name) == 0)
			return layout->section[i].sql;
	return NULL;
}

const char *layout_must_find(const struct layout *layout, const char *name)
{
	const char *sql = layout_find(layout, name);

	if (sql == NULL)
		die("the layout has no section %s", name);
	return sql;
}

void layout_free(struct layout *layout)
{
	free(layout->text);
	layout->text = NULL;
}
