/*
 * inifile.c - reading INI text through inih, with our own lines.
 *
 * Lives here: what a line is, and what inih cannot do: lines over 199 bytes,
 * line numbers, all faults at once, comments at the end of an indented line.
 * Not here:   what the keys mean (settings.c).
 *
 * inih asks for one line after the other and says "this is key and value". It
 * cuts what is long, so it gets a short form of each line that has the same
 * structure; the value is taken from the whole line, by the same rules for all.
 */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"
#include "inifile.h"

struct lines {
	struct inifile *file;
	const char *at, *end;		/* what is still to read */
	struct buf line;		/* the current line, without its end and its comment */
	const char *text;		/* in line, past the indentation */
	size_t indent;
	int number;
	struct buf value;		/* of the last entry while it may go on */
	bool open;			/* it may: lines_close() hands it over */

	enum hold {
		HOLD_NONE,		/* no key yet: any line starts something */
		HOLD_KEY,		/* deeper lines go on the last entry */
		HOLD_BAD,		/* the last key was wrong: deeper lines are passed over */
	} hold;
	size_t hold_indent;		/* of that key */
	bool going_on;			/* the line that inih has is indented text of the last entry */
	bool owed;			/* inih has a line that must come back as a key */
	bool lost;			/* after a wrong [section: its keys belong nowhere */
};

/* Room for one more element in a list that grows one by one: doubled at each power of two. */
static void *grown(void *list, size_t len, size_t size)
{
	return (len & (len - 1)) == 0 ? xrealloc(list, (len ? 2 * len : 1) * size) : list;
}

void inifile_fault(struct inifile *f, int line, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	if (f->faults_len > INIFILE_MAX_FAULTS)
		return;
	if (f->faults_len == INIFILE_MAX_FAULTS) {
		line = INIFILE_NO_LINE;
		buf_adds(&text, "more errors than these; correct them first");
	} else {
		va_start(ap, fmt);
		buf_vaddf(&text, fmt, ap);
		va_end(ap);
	}
	f->faults = grown(f->faults, f->faults_len, sizeof *f->faults);
	f->faults[f->faults_len] = (struct ini_fault){ line, f->faults_len, buf_give(&text) };
	f->faults_len++;
}

static int fault_cmp(const void *a, const void *b)
{
	const struct ini_fault *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void inifile_sort_faults(struct inifile *f)
{
	if (f->faults_len > 1)
		qsort(f->faults, f->faults_len, sizeof *f->faults, fault_cmp);
}

bool inifile_is_text(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
			return false;
		if (c == 0xc2 && i + 1 < len && (unsigned char)data[i + 1] < 0xa0)
			return false;	/* U+0080 to U+009F */
	}
	return utf8_valid(data, len);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Take the next line off the rest. False at the end. */
static bool lines_next(struct lines *l)
{
	const char *nl;
	size_t len;

	if (l->at == l->end || l->file->faults_len > INIFILE_MAX_FAULTS)
		return false;
	nl = memchr(l->at, '\n', (size_t)(l->end - l->at));
	len = (size_t)((nl ? nl : l->end) - l->at);
	l->number++;

	buf_clear(&l->line);
	buf_add(&l->line, l->at, len);
	l->at += nl ? len + 1 : len;
	while (l->line.len > 0 && strchr(" \t\r\v\f", l->line.data[l->line.len - 1]) != NULL && l->line.data[l->line.len - 1] != '\0')
		l->line.data[--l->line.len] = '\0';

	l->indent = 0;
	while (is_blank(l->line.data[l->indent]))
		l->indent++;
	l->text = l->line.data + l->indent;
	return true;
}

/* Cut what stands behind a blank and ";" from here on, and the blanks before it. */
static void lines_cut_comment(struct lines *l, const char *from)
{
	for (const char *p = from; p[0] != '\0' && p[1] != '\0'; p++) {
		if (!is_blank(p[0]) || p[1] != ';')
			continue;
		l->line.len = (size_t)(p - l->line.data);
		while (l->line.len > l->indent && is_blank(l->line.data[l->line.len - 1]))
			l->line.len--;
		l->line.data[l->line.len] = '\0';
		return;
	}
}

static void lines_bad(struct lines *l)
{
	l->hold = HOLD_BAD;
	l->hold_indent = l->indent;
}

/* The value of the last entry is complete. */
static void lines_close(struct lines *l)
{
	struct ini_section *s = &l->file->sections[l->file->len - 1];

	l->open = false;
	s->entries[s->len - 1].value = xstrdup(buf_text(&l->value));
	buf_clear(&l->value);
}

/* The current line is "[name]". */
static void lines_section(struct lines *l)
{
	const char *name = l->text + 1, *end = strchr(name, ']'), *rest;
	struct inifile *f = l->file;

	if (l->open)
		lines_close(l);
	l->hold = HOLD_NONE;
	l->lost = true;
	if (end == NULL) {
		inifile_fault(f, l->number, "a section needs a closing ]");
		return;
	}
	for (rest = end + 1; is_blank(*rest); rest++)
		;
	if (*rest != '\0' && *rest != ';' && *rest != '#') {
		inifile_fault(f, l->number, "only a comment may follow the ] of a section");
		return;
	}
	while (name < end && is_blank(*name))
		name++;
	while (end > name && is_blank(end[-1]))
		end--;
	if (name == end || !inifile_is_text(name, (size_t)(end - name))) {
		inifile_fault(f, l->number, "expected the name of a section in UTF-8, without control characters");
		return;
	}
	if (f->len == INIFILE_MAX_SECTIONS) {
		inifile_fault(f, l->number, "more than %d sections", INIFILE_MAX_SECTIONS);
		return;
	}
	l->lost = false;
	f->sections = grown(f->sections, f->len, sizeof *f->sections);
	f->sections[f->len++] = (struct ini_section){
		.name = xstrndup(name, (size_t)(end - name)), .line = l->number
	};
}

/* Look at the current line: what does inih get for it? "" for nothing. */
static const char *lines_sort(struct lines *l)
{
	size_t sep;

	if (l->text[0] == ';' || l->text[0] == '#' || l->line.len == l->indent)
		return "";
	if (memchr(l->line.data, '\0', l->line.len) != NULL) {
		inifile_fault(l->file, l->number, "the line holds a NUL byte");
		lines_bad(l);
		return "";
	}
	l->going_on = l->hold != HOLD_NONE && l->indent > l->hold_indent;
	if (!l->going_on && l->text[0] == '[') {
		lines_section(l);
		return "[section]";
	}

	sep = l->going_on ? 0 : strcspn(l->text, "=:");
	lines_cut_comment(l, l->text + sep + (l->text[sep] != '\0' && !l->going_on));
	if (l->lost || (l->going_on && l->hold == HOLD_BAD))
		return "";
	if (!inifile_is_text(l->line.data, l->line.len))
		inifile_fault(l->file, l->number, "expected UTF-8 text without control characters");
	else if (l->file->len == 0)
		inifile_fault(l->file, l->number, "a key stands before the first [section]");
	else {
		l->owed = true;
		return l->text;
	}
	if (!l->going_on)
		lines_bad(l);
	return "";
}

/* inih's reader: as fgets. */
static char *lines_give(char *out, int size, void *arg)
{
	struct lines *l = arg;

	if (l->owed) {			/* it saw no key in the last line; the text may be a password */
		l->owed = false;
		inifile_fault(l->file, l->number, "expected \"key = value\" or \"[section]\"");
		lines_bad(l);
	}
	l->going_on = false;
	if (!lines_next(l))
		return NULL;

	const char *text = lines_sort(l);

	/* A leading blank says to inih that the line goes on; what does not fit is cut. */
	snprintf(out, (size_t)size, "%s%s", l->going_on && *text ? " " : "", text);
	return out;
}

/* inih's handler: the current line is a key and its value, or goes on the last one. */
static int lines_take(void *arg, const char *section, const char *name, const char *value)
{
	struct lines *l = arg;
	struct ini_section *s = &l->file->sections[l->file->len - 1];

	(void)section;			/* a stand-in */
	(void)value;			/* perhaps cut */
	l->owed = false;
	if (l->going_on) {
		if (l->value.len > 0)
			buf_addc(&l->value, '\n');
		buf_adds(&l->value, l->text);
		return 1;
	}
	if (name[0] == '\0') {
		inifile_fault(l->file, l->number, "a key is missing before the %c", l->text[0]);
		lines_bad(l);
		return 1;
	}
	const char *text = l->text + strcspn(l->text, "=:") + 1;

	while (is_blank(*text))
		text++;
	if (l->open)
		lines_close(l);
	s->entries = grown(s->entries, s->len, sizeof *s->entries);
	s->entries[s->len++] = (struct ini_entry){ xstrdup(name), NULL, l->number };
	l->open = true;
	buf_adds(&l->value, text);
	l->hold = HOLD_KEY;
	l->hold_indent = l->indent;
	return 1;
}

void inifile_parse(struct inifile *f, const char *data, size_t len)
{
	struct lines l = { .file = f, .at = data, .end = data + len, .line = BUF_INIT, .value = BUF_INIT };
	int bad;

	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
		l.at += 3;
	bad = ini_parse_stream(lines_give, &l, lines_take, &l);
	if (l.open)
		lines_close(&l);
	if (bad != 0 && f->faults_len == 0)
		inifile_fault(f, bad > 0 ? bad : INIFILE_NO_LINE, "cannot be read as an INI file");
	buf_release(&l.line);
	buf_release(&l.value);
}

int inifile_load(struct inifile *f, const char *path, struct error *err)
{
	struct buf data = BUF_INIT;
	int fd, status = -1;
	ssize_t n;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		error_set(err, ERR_SETTINGS, "%s", strerror(errno));
		goto out;
	}
	do {
		buf_reserve(&data, 4096);
		n = read(fd, data.data + data.len, 4096);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n < 0) {
			error_set(err, ERR_SETTINGS, "%s", strerror(errno));
			goto out;
		}
		data.len += (size_t)n;
		if (data.len > INIFILE_MAX_BYTES) {
			error_set(err, ERR_SETTINGS, "larger than %zu bytes: no settings file", INIFILE_MAX_BYTES);
			goto out;
		}
	} while (n > 0);
	inifile_parse(f, buf_text(&data), data.len);
	status = 0;
out:
	if (fd >= 0)
		close(fd);
	buf_release(&data);
	return status;
}

void inifile_release(struct inifile *f)
{
	for (size_t i = 0; i < f->len; i++) {
		struct ini_section *s = &f->sections[i];

		for (size_t k = 0; k < s->len; k++) {
			free(s->entries[k].key);
			free(s->entries[k].value);
		}
		free(s->entries);
		free(s->name);
	}
	for (size_t i = 0; i < f->faults_len; i++)
		free(f->faults[i].text);
	free(f->sections);
	free(f->faults);
	*f = (struct inifile)INIFILE_INIT;
}
