/*
 * fragment.c - a scanner for what PostgreSQL's lexer would skip or pair up:
 * strings, quoted names, dollar quotes, comments and brackets.
 */
#include "fragment.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct scan {
	enum fragment_kind kind;
	const char *setting;
	const char *p;
	char open[64];			/* brackets not closed yet */
	size_t depth;
	struct error *err;
};

static int wrong(struct scan *s, const char *what)
{
	return error_set(s->err, ERR_SETTINGS, "%s: %s", s->setting, what);
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* A quoted text; at s->p stands the quote. escapes: a backslash takes the next character (E''). */
static int skip_quoted(struct scan *s, char quote, bool escapes)
{
	const char *p = s->p + 1;

	for (; *p != '\0'; p++) {
		if (escapes && *p == '\\' && p[1] != '\0')
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			break;
	}
	if (*p == '\0')
		return wrong(s, quote == '\'' ? "a text in '...' is not closed" : "a name in \"...\" is not closed");
	s->p = p + 1;
	return 0;
}

/* $tag$ ... $tag$, $1, or a lone dollar sign. */
static int skip_dollar(struct scan *s)
{
	const char *end = s->p + 1;
	size_t len;

	if (isdigit((unsigned char)*end)) {
		if (s->kind != FRAGMENT_STATEMENT)
			return wrong(s, "parameters like $1 have no meaning here");
		s->p = end;
		return 0;
	}
	while (in_word(*end) && *end != '$')
		end++;
	if (*end != '$') {
		s->p++;
		return 0;
	}
	len = (size_t)(end + 1 - s->p);
	for (const char *p = end + 1; *p != '\0'; p++)
		if (*p == '$' && strncmp(p, s->p, len) == 0) {
			s->p = p + len;
			return 0;
		}
	return wrong(s, "a text in $...$ is not closed");
}

static int skip_comment(struct scan *s)
{
	int depth = 0;

	if (s->p[0] == '-') {
		s->p += strcspn(s->p, "\r\n");
		return 0;
	}
	do {
		if (s->p[0] == '\0')
			return wrong(s, "a comment is not closed");
		if (s->p[0] == '/' && s->p[1] == '*')
			depth++, s->p += 2;
		else if (s->p[0] == '*' && s->p[1] == '/')
			depth--, s->p += 2;
		else
			s->p++;
	} while (depth > 0);
	return 0;
}

static int take_bracket(struct scan *s, char c)
{
	s->p++;
	if (c == '(' || c == '[') {
		if (s->depth == sizeof s->open)
			return wrong(s, "too many brackets");
		s->open[s->depth++] = c;
		return 0;
	}
	if (s->depth == 0 || s->open[s->depth - 1] != (c == ')' ? '(' : '['))
		return wrong(s, "a closing bracket without its opening one");
	s->depth--;
	return 0;
}

static int take_end(struct scan *s)
{
	s->p++;
	if (s->kind == FRAGMENT_STATEMENT && s->p[strspn(s->p, "; \t\r\n")] == '\0') {
		s->p += strlen(s->p);
		return 0;
	}
	return wrong(s, s->kind == FRAGMENT_STATEMENT ? "only one statement is possible" : "a ; has no place here");
}

/* A word: an E before a quote, and what an ORDER BY must not go on with. */
static int take_word(struct scan *s)
{
	static const char *const forbidden[] = { "limit", "offset", "fetch", "for" };
	const char *start = s->p;
	size_t len;

	while (in_word(*s->p))
		s->p++;
	len = (size_t)(s->p - start);
	if (*s->p == '\'' && isdigit((unsigned char)*start))
		return wrong(s, "a number right before a quote");	/* 1E'...': the server would cut it otherwise */
	if (*s->p == '\'')
		return skip_quoted(s, '\'', len == 1 && (*start == 'e' || *start == 'E'));
	if (s->kind != FRAGMENT_ORDER || s->depth > 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (len == strlen(forbidden[i]) && strncasecmp(start, forbidden[i], len) == 0)
			return wrong(s, "LIMIT, OFFSET, FETCH and FOR have no place here");
	return 0;
}

static int take_next(struct scan *s)
{
	char c = *s->p;

	if (c == '\'' || c == '"')
		return skip_quoted(s, c, false);
	if ((c == '-' && s->p[1] == '-') || (c == '/' && s->p[1] == '*'))
		return skip_comment(s);
	if (c == '$')
		return skip_dollar(s);
	if (strchr("()[]", c) != NULL)
		return take_bracket(s, c);
	if (c == ';')
		return take_end(s);
	if (in_word(c))
		return take_word(s);
	s->p++;
	return 0;
}

int fragment_check(enum fragment_kind kind, const char *setting, const char *text, struct error *err)
{
	struct scan s = { .kind = kind, .setting = setting, .p = text, .err = err };

	while (*s.p != '\0')
		if (take_next(&s) < 0)
			return -1;
	if (s.depth > 0)
		return wrong(&s, "an opening bracket is not closed");
	return 0;
}
