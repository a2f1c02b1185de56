/*
 * words.c - a command line in a setting to its words, and the nearest word for a typo.
 *
 * Not here: running anything. No variable, no glob, no comment, no operator
 * means anything: a word is what stands there.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "words.h"

struct splitter {
	const char *at;
	struct buf word;
	char **words;
	size_t len, cap;	/* words, and room, the NULL at the end included */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void take_word(struct splitter *s, char *word)
{
	if (s->len + 1 >= s->cap) {
		s->cap = s->cap ? 2 * s->cap : 8;
		s->words = xrealloc(s->words, s->cap * sizeof *s->words);
	}
	s->words[s->len++] = word;
	s->words[s->len] = NULL;
}

/* '...': everything up to the next single quote is meant as it stands. */
static int read_single(struct splitter *s, struct error *err)
{
	const char *end = strchr(s->at, '\'');

	if (!end)
		return error_set(err, ERR_SETTINGS, "a single quote (') is opened and not closed");
	buf_add(&s->word, s->at, (size_t)(end - s->at));
	s->at = end + 1;
	return 0;
}

/* "...": a backslash counts only before " \ $ ` and a newline. */
static int read_double(struct splitter *s, struct error *err)
{
	while (*s->at != '"') {
		if (*s->at == '\\' && s->at[1] && strchr("\"\\$`\n", s->at[1])) {
			s->at++;
			if (*s->at == '\n') {
				s->at++;
				continue;
			}
		}
		if (!*s->at)
			return error_set(err, ERR_SETTINGS, "a double quote (\") is opened and not closed");
		buf_addc(&s->word, *s->at++);
	}
	s->at++;
	return 0;
}

static int read_escape(struct splitter *s, struct error *err)
{
	if (!*s->at)
		return error_set(err, ERR_SETTINGS, "a backslash (\\) at the end has nothing to quote");
	if (*s->at != '\n')
		buf_addc(&s->word, *s->at);
	s->at++;
	return 0;
}

static int read_word(struct splitter *s, struct error *err)
{
	while (*s->at && !is_blank(*s->at)) {
		char c = *s->at++;
		int bad = 0;

		if (c == '\'')
			bad = read_single(s, err);
		else if (c == '"')
			bad = read_double(s, err);
		else if (c == '\\')
			bad = read_escape(s, err);
		else
			buf_addc(&s->word, c);
		if (bad)
			return -1;
	}
	take_word(s, buf_give(&s->word));
	return 0;
}

static void skip_blanks(struct splitter *s)
{
	for (;;) {
		if (is_blank(*s->at))
			s->at++;
		else if (s->at[0] == '\\' && s->at[1] == '\n')
			s->at += 2;
		else
			return;
	}
}

char **words_split(const char *text, struct error *err)
{
	struct splitter s = { .at = text, .word = BUF_INIT };

	s.words = xcalloc(1, sizeof *s.words);
	s.cap = 1;
	for (skip_blanks(&s); *s.at; skip_blanks(&s)) {
		if (read_word(&s, err)) {
			buf_release(&s.word);
			words_free(s.words);
			return NULL;
		}
	}
	return s.words;
}

void words_free(char **words)
{
	if (!words)
		return;
	for (char **w = words; *w; w++)
		free(*w);
	free(words);
}

size_t words_count(char *const *words)
{
	size_t n = 0;

	while (words && words[n])
		n++;
	return n;
}

#define NEAREST_MAX_LEN 64
#define NEAREST_MAX_DISTANCE 3

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters inserted, left out, changed, or two neighbours swapped. Three rows of the usual table. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAREST_MAX_LEN + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		above[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}

		size_t *oldest = before;

		before = above;
		above = row;
		row = oldest;
	}
	return above[b_len];
}

const char *words_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word), best_distance = NEAREST_MAX_DISTANCE + 1;
	const char *best = NULL;

	if (len > NEAREST_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t candidate_len = strlen(candidates[i]), distance;

		if (candidate_len > NEAREST_MAX_LEN)
			continue;
		distance = edit_distance(word, len, candidates[i], candidate_len);
		if (distance < best_distance && 2 * distance < len) {
			best = candidates[i];
			best_distance = distance;
		}
	}
	return best;
}
