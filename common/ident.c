/*
 * ident.c - names and literals into and out of SQL quoting.
 *
 * Lives here: the only code that puts a name or a text between SQL quotes.
 * Not here:   whether a name exists (mapping.c asks the catalog).
 */
#include <stdlib.h>
#include <string.h>
#include "ident.h"

#define IDENT_MAX 63	/* bytes; the server would cut a longer one and mean another name */

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static bool starts_word(char c)
{
	return (c >= 'a' && c <= 'z') || c == '_';
}

static bool continues_word(char c)
{
	return starts_word(c) || (c >= '0' && c <= '9') || c == '$';
}

/* The words of a complaint, cut so that what was expected still fits behind. */
static int refuse(struct error *err, const char *text, const char *expected)
{
	return error_set(err, ERR_SETTINGS, "%.200s%s: %s", *text ? text : "(nothing)",
	                 strlen(text) > 200 ? "..." : "", expected);
}

/* "...": *at stands behind the opening quote, and then behind the closing one. */
static int read_quoted(struct buf *name, const char **at, const char *whole, struct error *err)
{
	const char *p = *at;

	for (; *p && !(p[0] == '"' && p[1] != '"'); p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7F)
			return refuse(err, whole, "a name cannot hold control characters");
		if (*p == '"')
			p++;
		buf_addc(name, *p);
	}
	if (*p != '"')
		return refuse(err, whole, "the double quote is opened and not closed");
	if (name->len == 0)
		return refuse(err, whole, "expected a name between the double quotes");
	if (!utf8_valid(name->data, name->len))
		return refuse(err, whole, "a name must be valid UTF-8");
	*at = p + 1;
	return 0;
}

static int read_bare(struct buf *name, const char **at, const char *whole, struct error *err)
{
	const char *p = *at;

	if (starts_word(*p))
		while (continues_word(*p))
			p++;
	if (strpbrk(whole, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && !strchr(whole, '"'))
		return refuse(err, whole, "a name with upper-case letters must stand in double quotes, "
		              "as in \"Videos\"; without them it must be lower case");
	if (p == *at || (*p && !strchr(". \t\r\n", *p)))
		return refuse(err, whole, "expected a name of lower-case letters, digits and _, "
		              "or any other name in double quotes");
	buf_add(name, *at, (size_t)(p - *at));
	*at = p;
	return 0;
}

/* One identifier with the blanks around it; *at is then the end of the text or what follows. */
static char *read_ident(const char **at, const char *whole, struct error *err)
{
	struct buf name = BUF_INIT;
	const char *p = skip_blanks(*at);
	int bad;

	if (*p == '"') {
		p++;
		bad = read_quoted(&name, &p, whole, err);
	} else {
		bad = read_bare(&name, &p, whole, err);
	}
	if (!bad && name.len > IDENT_MAX)
		bad = refuse(err, whole, "a name has at most 63 bytes");
	if (bad) {
		buf_release(&name);
		return NULL;
	}
	*at = skip_blanks(p);
	return buf_give(&name);
}

char *ident_parse(const char *text, struct error *err)
{
	const char *p = text;
	char *name = read_ident(&p, text, err);

	if (name && *p) {
		refuse(err, text, *p == '.' ? "expected one name without a dot (a dot inside a name "
		       "stands in double quotes)" : "expected one name and nothing after it");
		free(name);
		return NULL;
	}
	return name;
}

int ident_parse_qualified(const char *text, char **schema, char **name, struct error *err)
{
	const char *p = text;

	*schema = NULL;
	*name = read_ident(&p, text, err);
	if (*name && *p == '.') {
		p++;
		*schema = *name;
		*name = read_ident(&p, text, err);
	}
	if (*name && !*p)
		return 0;
	if (*name)
		refuse(err, text, "expected table or schema.table and nothing after it");
	free(*schema);
	free(*name);
	*schema = *name = NULL;
	return -1;
}

static void add_doubling(struct buf *out, const char *text, const char *doubled)
{
	for (; *text; text++) {
		if (strchr(doubled, *text))
			buf_addc(out, *text);
		buf_addc(out, *text);
	}
}

void ident_quote(struct buf *out, const char *name)
{
	buf_addc(out, '"');
	add_doubling(out, name, "\"");
	buf_addc(out, '"');
}

/* E'' means the same whatever standard_conforming_strings says. */
char *ident_quoted(const char *name)
{
	struct buf b = BUF_INIT;

	ident_quote(&b, name);
	return buf_give(&b);
}

char *ident_shown(const char *name)
{
	const char *p = name;

	if (starts_word(*p))
		while (continues_word(*p))
			p++;
	return p == name || *p != '\0' ? ident_quoted(name) : xstrdup(name);
}

void literal_quote(struct buf *out, const char *text)
{
	buf_adds(out, strchr(text, '\\') ? "E'" : "'");
	add_doubling(out, text, "'\\");
	buf_addc(out, '\'');
}
