/*
 * words.h - splitting a command as a shell would split it (no shell runs), and
 * finding the nearest known word for a typo.
 */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>
#include "error.h"

/*
 * Split at blanks and newlines; '...' literal, "..." with \" and \\ and \$ and
 * \`, \x outside quotes is x, backslash and newline is nothing. Gives a NULL-terminated array (one allocation
 * each; words_free), or NULL and err for an open quote or a trailing backslash.
 */
MUST_CHECK char **words_split(const char *text, struct error *err);
void words_free(char **words);
size_t words_count(char *const *words);

/* The candidate nearest to word (edit distance at most 3 and under half its length), or NULL. */
const char *words_nearest(const char *word, const char *const *candidates, size_t n);

#endif
