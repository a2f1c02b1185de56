/*
 * jsonl.c - JSON lines between the worker and a handler process.
 *
 * Lives here: building a request, cutting a stream into lines, finding the members of an answer.
 * Not here:   processes and what an answer means (serve.c).
 */
#include "jsonl.h"

#include <stdio.h>
#include <string.h>

#define KEEP_MAX (64 * 1024)	/* a line buffer that had to grow further is given back */

/* ---- to the handler ---- */

static bool must_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* What stands between the quotes of a JSON string. */
static void add_characters(struct buf *out, const char *text)
{
	const char *from = text;

	for (; *text != '\0'; text++) {
		if (!must_escape((unsigned char)*text))
			continue;
		buf_add(out, from, (size_t)(text - from));
		from = text + 1;
		if (*text == '"' || *text == '\\') {
			buf_addc(out, '\\');
			buf_addc(out, *text);
		} else {
			buf_addf(out, "\\u%04x", (unsigned)(unsigned char)*text);
		}
	}
	buf_add(out, from, (size_t)(text - from));
}

static void add_payload(struct buf *out, const char *payload, size_t len)
{
	size_t from = out->len;

	buf_add(out, payload, len);
	if (memchr(payload, '\n', len) == NULL && memchr(payload, '\r', len) == NULL)
		return;
	for (char *c = out->data + from; c < out->data + out->len; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
}

#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

void jsonl_add_request(struct buf *out, const struct jsonl_request *r)
{
	ADD(out, "{\"id\":\"");
	add_characters(out, r->id);
	ADD(out, "\",\"queue\":\"");
	add_characters(out, r->queue);
	ADD(out, "\",\"attempt\":");
	buf_add_number(out, r->attempt);
	ADD(out, ",\"claim_id\":\"");
	buf_add_number(out, r->claim_id);
	ADD(out, "\",\"key\":\"");
	add_characters(out, r->queue);
	ADD(out, ":");
	add_characters(out, r->id);
	ADD(out, "\",\"deadline\":\"");
	buf_adds(out, r->deadline);
	ADD(out, "\",\"payload\":");
	add_payload(out, r->payload, r->payload_len);
	ADD(out, "}\n");
}

/* ---- bytes to lines ---- */

bool jsonl_lines_add(struct jsonl_lines *l, const char *data, size_t len, jsonl_line_fn *fn, void *arg)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end != NULL ? (size_t)(end - data) : len;
		size_t room = l->max - l->part.len;

		if (n > room) {
			buf_add(&l->part, data, room);
			return false;
		}
		if (end != NULL && l->part.len == 0) {
			fn(arg, data, n);	/* whole: not copied */
		} else {
			buf_add(&l->part, data, n);
			if (end != NULL) {
				fn(arg, buf_text(&l->part), l->part.len);
				if (l->part.cap > KEEP_MAX)
					buf_release(&l->part);
				else
					buf_clear(&l->part);
			}
		}
		data += n + (end != NULL);
		len -= n + (end != NULL);
	}
	return true;
}

void jsonl_lines_release(struct jsonl_lines *l)
{
	buf_release(&l->part);
}

/* ---- a line to an answer ---- */

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

/*
 * From the opening quote to behind the closing one; NULL when it does not end. The next
 * quote is looked for again only when an escape has passed it: each byte is looked at twice at most.
 */
static const char *skip_string(const char *p, const char *end)
{
	const char *quote = p++;

	for (;;) {
		const char *escape;

		if (quote < p) {
			quote = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
			if (quote == NULL)
				return NULL;
		}
		escape = memchr(p, '\\', (size_t)(quote - p));
		if (escape == NULL)
			return quote + 1;
		p = escape + 2;
	}
}

/* An object or array: only where it ends. Whether it is right within is for the database to say. */
static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			if (p == NULL)
				return NULL;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p + 1;
			break;
		default:
			break;
		}
		p++;
	}
	return NULL;
}

static const char *skip_word(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && strchr(",:{}[]\" \t\r\n", *p) == NULL)
		p++;
	return p > from ? p : NULL;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	return *p == '{' || *p == '[' ? skip_nested(p, end) : skip_word(p, end);
}

/* Where the value of this name goes, or a place that nobody looks at. */
static struct jsonl_text *member(struct jsonl_answer *a, struct jsonl_text *other, const char *name, size_t len)
{
	const struct { const char *name; struct jsonl_text *text; } members[] = {
		{ "\"id\"", &a->id }, { "\"ok\"", &a->ok }, { "\"result\"", &a->result }, { "\"error\"", &a->error },
		{ "\"retry\"", &a->retry }, { "\"delay\"", &a->delay }, { "\"progress\"", &a->progress },
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (strlen(members[i].name) == len && memcmp(members[i].name, name, len) == 0)
			return members[i].text;
	return other;
}

/* "name": value. Returns what is behind it, or NULL. */
static const char *scan_member(const char *p, const char *end, struct jsonl_answer *a)
{
	struct jsonl_text other, *text;
	const char *name = p;

	if (p == end || *p != '"' || (p = skip_string(p, end)) == NULL)
		return NULL;
	text = member(a, &other, name, (size_t)(p - name));
	p = skip_blanks(p, end);
	if (p == end || *p != ':')
		return NULL;
	text->at = skip_blanks(p + 1, end);
	text->len = 0;
	p = skip_value(text->at, end);
	if (p != NULL)
		text->len = (size_t)(p - text->at);
	return p;
}

static bool scan_object(const char *p, const char *end, struct jsonl_answer *a)
{
	p = skip_blanks(p, end);
	if (p == end || *p != '{')
		return false;
	do {
		p = scan_member(skip_blanks(p + 1, end), end, a);
		if (p == NULL)
			return false;
		p = skip_blanks(p, end);
		if (p == end)
			return false;
	} while (*p == ',');
	return *p == '}' && skip_blanks(p + 1, end) == end;
}

bool jsonl_is(const struct jsonl_text *t, const char *word)
{
	return t->at != NULL && t->len == strlen(word) && memcmp(t->at, word, t->len) == 0;
}

const char *jsonl_scan(const char *line, size_t len, struct jsonl_answer *a)
{
	*a = (struct jsonl_answer){ .id = { NULL, 0 } };
	if (!scan_object(line, line + len, a))
		return "it is no JSON object";
	if (a->id.at == NULL || *a->id.at != '"')
		return "it has no \"id\" that is a string";
	if (a->ok.at == NULL)
		return a->progress.at != NULL ? NULL : "it has neither \"ok\" nor \"progress\"";
	return jsonl_is(&a->ok, "true") || jsonl_is(&a->ok, "false") ? NULL : "\"ok\" is neither true nor false";
}

/* ---- strings ---- */

static bool read_hex4(const char *p, const char *end, unsigned *out)
{
	unsigned code = 0;

	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = p[i] != '\0' ? strchr(digits, p[i] >= 'A' && p[i] <= 'F' ? p[i] + 32 : p[i]) : NULL;

		if (digit == NULL)
			return false;
		code = code * 16 + (unsigned)(digit - digits);
	}
	*out = code;
	return true;
}

static void add_code_point(struct buf *out, unsigned c)
{
	if (c < 0x80) {
		buf_addc(out, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_addc(out, (char)(0xC0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_addc(out, (char)(0xE0 | c >> 12));
		} else {
			buf_addc(out, (char)(0xF0 | c >> 18));
			buf_addc(out, (char)(0x80 | (c >> 12 & 0x3F)));
		}
		buf_addc(out, (char)(0x80 | (c >> 6 & 0x3F)));
	}
	buf_addc(out, (char)(0x80 | (c & 0x3F)));
}

/* Behind "\u". Half a surrogate pair becomes the replacement character. */
static const char *add_unicode(struct buf *out, const char *p, const char *end)
{
	unsigned c, low;

	if (!read_hex4(p, end, &c))
		return NULL;
	p += 4;
	if (c >= 0xD800 && c <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && read_hex4(p + 2, end, &low)
	    && low >= 0xDC00 && low <= 0xDFFF) {
		add_code_point(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
		return p + 6;
	}
	add_code_point(out, c >= 0xD800 && c <= 0xDFFF ? 0xFFFD : c);
	return p;
}

/* Behind a backslash. */
static const char *add_escaped(struct buf *out, const char *p, const char *end)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *name;

	if (p == end || *p == '\0')
		return NULL;
	if (*p == 'u')
		return add_unicode(out, p + 1, end);
	name = strchr(names, *p);
	if (name == NULL)
		return NULL;
	buf_addc(out, means[name - names]);
	return p + 1;
}

bool jsonl_string(const struct jsonl_text *t, struct buf *out)
{
	const char *p, *end;

	buf_clear(out);
	if (t->at == NULL || t->len < 2 || *t->at != '"')
		return false;
	p = t->at + 1;
	end = t->at + t->len - 1;
	while (p < end) {
		const char *escape = memchr(p, '\\', (size_t)(end - p));

		buf_add(out, p, (size_t)((escape != NULL ? escape : end) - p));
		if (escape == NULL)
			break;
		p = add_escaped(out, escape + 1, end);
		if (p == NULL)
			return false;
	}
	return true;
}
