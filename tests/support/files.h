/*
 * files.h - the files of a test. Each test runs in a fresh directory of its own,
 * which is removed afterwards; relative names are in it.
 */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>
#include "scene.h"

/* All texts live as long as the test. "" is the directory itself. */
const char *test_dir(void);
const char *test_path(const char *name);	/* absolute path of a file of the test */
const char *source_path(const char *name);	/* of a file of the source tree: "tests/handlers/echo" */
const char *build_path(const char *name);	/* of a file in $UNSTUCK_BUILD */

#define write_file(name, text) (story_at(__FILE__, __LINE__), write_file_at(name, text, 0644))
#define write_script(name, text) (story_at(__FILE__, __LINE__), write_file_at(name, text, 0755))
#define write_filef(name, ...) (story_at(__FILE__, __LINE__), write_file_at(name, story_text(__VA_ARGS__), 0644))
#define read_file(name) (story_at(__FILE__, __LINE__), read_file_at(name, NULL))

/* Each returns the file's absolute path. Only in the test's directory, and not through a symbolic link. */
const char *write_file_at(const char *name, const char *text, unsigned mode);
/* The whole file with a NUL behind it; fails the test when it is not there. */
char *read_file_at(const char *name, size_t *len);
bool file_exists(const char *name);

/* For story.c: enter a fresh directory under base, and leave it again. */
void files_find_roots(void);		/* once, before any chdir */
void files_begin(const char *base);
void files_end(void);
void remove_tree(const char *path);

#endif
