/*
 * settings_parse.c - the text of one setting to its value, and back to nothing.
 *
 * Lives here: one reader per kind; what each kind expects, in words.
 * Not here:   the rows (settings_table.c), where values come from and how they
 *             fit together (settings.c, settings_check.c).
 *
 * A reader gets the row, the place of the value and the text. It fills the
 * place only when all is well; an err that it leaves empty becomes
 * "expected " and the kind's words.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "ident.h"
#include "inifile.h"
#include "redis_url.h"
#include "setting.h"
#include "words.h"

#define STATES_MAX 100

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int read_text(const struct setting *row, void *place, const char *text, struct error *err)
{
	char **value = place;

	(void)row;
	(void)err;
	free(*value);
	*value = xstrdup(text);
	return 0;
}

/* 'IN PROGRESS' is IN PROGRESS; a text without quotes is taken as it stands, blanks and all. */
static int read_state(const struct setting *row, void *place, const char *text, struct error *err)
{
	char **words;
	int status = -1;

	if (text[0] == '\0')
		return -1;
	if (text[0] != '"' && text[0] != '\'')
		return read_text(row, place, text, err);
	words = words_split(text, err);
	if (words_count(words) == 1 && words[0][0] != '\0')
		status = read_text(row, place, words[0], err);
	words_free(words);
	return status;
}

static int read_column(const struct setting *row, void *place, const char *text, struct error *err)
{
	char *name;

	if (text[0] == '\0' && row->def == NULL)
		return read_text(row, place, text, err);
	name = ident_parse(text, err);
	if (name == NULL)
		return -1;
	free(name);
	return read_text(row, place, text, err);
}

static int read_table(const struct setting *row, void *place, const char *text, struct error *err)
{
	char *schema = NULL, *name = NULL;

	if (text[0] != '\0') {
		if (ident_parse_qualified(text, &schema, &name, err) < 0)
			return -1;
		free(schema);
		free(name);
	}
	return read_text(row, place, text, err);
}

static bool is_port(const char *text, const char *end)
{
	uint64_t port;

	return setting_digits(&text, &port) == 0 && text == end && port >= 1 && port <= 65535;
}

/* host, or [an IPv6 address], then :port. */
static bool is_host_port(const char *text, const char *end)
{
	const char *colon = text;

	if (*text == '[') {
		colon = memchr(text, ']', (size_t)(end - text));
		if (colon == NULL || colon == text + 1)
			return false;
		colon++;
	} else {
		while (colon < end && *colon != ':' && *colon != ' ')
			colon++;
		if (colon == text)
			return false;
	}
	return colon < end && *colon == ':' && is_port(colon + 1, end);
}

/* A secret: no word of it in an error. */
static int read_redis(const struct setting *row, void *place, const char *text, struct error *err)
{
	struct redis_url url;

	if (redis_url_parse(&url, text, err) < 0)
		return -1;
	redis_url_release(&url);
	return read_text(row, place, text, err);
}

static int read_listen(const struct setting *row, void *place, const char *text, struct error *err)
{
	if (strncmp(text, "unix:", 5) == 0) {
		if (text[5] != '/' || strlen(text + 5) > 107)
			return error_set(err, ERR_SETTINGS, "expected unix: and an absolute path of at most 107 bytes");
	} else if (text[0] != '\0' && !is_host_port(text, text + strlen(text))) {
		return -1;
	}
	return read_text(row, place, text, err);
}

static int read_words(const struct setting *row, void *place, const char *text, struct error *err)
{
	char ***value = place, **words = words_split(text, err);
	const char *wrong = NULL;

	if (words == NULL)
		return -1;
	for (size_t i = 0; words[i] != NULL; i++)
		if (words[i][0] == '\0' && (row->kind != SET_COMMAND || i == 0))
			wrong = row->kind == SET_COMMAND ? "the command is an empty word" : "a word is empty";
	if (row->kind == SET_STATES && words_count(words) > STATES_MAX)
		wrong = "expected at most 100 states";
	if (wrong != NULL) {
		words_free(words);
		return error_set(err, ERR_SETTINGS, "%s", wrong);
	}
	words_free(*value);
	*value = words;
	return 0;
}

static bool is_variable(const char *name)
{
	if (is_digit(name[0]) || name[0] == '\0')
		return false;
	for (; *name; name++)
		if (!is_digit(*name) && *name != '_' && !(*name >= 'A' && *name <= 'Z') && !(*name >= 'a' && *name <= 'z'))
			return false;
	return true;
}

static int read_names(const struct setting *row, void *place, const char *text, struct error *err)
{
	char **names = words_split(text, err);
	int status = -1;

	for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
		if (!is_variable(names[i])) {
			error_set(err, ERR_SETTINGS, "%.60s is not the name of a variable: expected letters, digits and _",
			          names[i]);
			goto out;
		}
	}
	if (names != NULL)
		status = read_words(row, place, text, err);
out:
	words_free(names);
	return status;
}

/* One entry of a list of columns: up to a comma or blank outside double quotes. */
static const char *column_end(const char *p)
{
	bool quoted = false;

	for (; *p != '\0' && (quoted || strchr(", \t\n", *p) == NULL); p++)
		if (*p == '"')
			quoted = !quoted;
	return p;
}

static int read_columns(const struct setting *row, void *place, const char *text, struct error *err)
{
	char ***value = place, **columns = xcalloc(strlen(text) + 1, sizeof *columns), *name;
	size_t len = 0;

	(void)row;
	for (const char *end; *(text += strspn(text, ", \t\n")) != '\0'; text = end) {
		end = column_end(text);
		columns[len++] = xstrndup(text, (size_t)(end - text));
		name = ident_parse(columns[len - 1], err);
		free(name);
		if (name == NULL) {
			words_free(columns);
			return -1;
		}
	}
	words_free(*value);
	*value = xrealloc(columns, (len + 1) * sizeof *columns);
	return 0;
}

static int read_count(const struct setting *row, void *place, const char *text, struct error *err)
{
	uint64_t n;

	(void)err;
	if (setting_digits(&text, &n) < 0 || *text != '\0' || n < row->min || n > row->max)
		return -1;
	*(uint32_t *)place = (uint32_t)n;
	return 0;
}

static int read_time(const struct setting *row, void *place, const char *text, struct error *err)
{
	usec_t t;

	(void)err;
	if (usec_parse(text, &t) < 0 || ((t < row->min || t > row->max) && !(row->off && t == 0)))
		return -1;
	*(usec_t *)place = t;
	return 0;
}

static int read_size(const struct setting *row, void *place, const char *text, struct error *err)
{
	uint64_t n = size_parse_or(text, UINT64_MAX);

	(void)err;
	if (n < row->min || n > row->max)
		return -1;
	*(uint64_t *)place = n;
	return 0;
}

static int read_bool(const struct setting *row, void *place, const char *text, struct error *err)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	(void)row;
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*(bool *)place = i & 1;
			return 0;
		}
	}
	return -1;
}

static int read_choice(const struct setting *row, void *place, const char *text, struct error *err)
{
	(void)err;
	for (const struct choice *c = row->choices; c->name != NULL; c++) {
		if (strcmp(text, c->name) == 0) {
			*(int *)place = c->value;
			return 0;
		}
	}
	return -1;
}

static int read_rate(const struct setting *row, void *place, const char *text, struct error *err)
{
	(void)row;
	(void)err;
	if (text[0] == '\0') {
		*(struct rate *)place = (struct rate){ 0, 0 };
		return 0;
	}
	return rate_parse(text, place);
}

static const struct kind {
	int (*read)(const struct setting *row, void *place, const char *text, struct error *err);
	enum { HOLDS_VALUE, HOLDS_TEXT, HOLDS_WORDS } holds;
	bool lines;		/* the value may span lines */
	const char *expected;	/* NULL: setting_expected() makes the words from the row */
	const char *as_in;	/* behind the words in a complaint */
} kinds[SETTING_KINDS] = {
	[SET_TEXT]     = { read_text, HOLDS_TEXT, false, "text", NULL },
	[SET_PATH]     = { read_text, HOLDS_TEXT, false, "a path", NULL },
	[SET_SQL]      = { read_text, HOLDS_TEXT, true, "SQL", NULL },
	[SET_STATE]    = { read_state, HOLDS_TEXT, false, "one state", NULL },
	[SET_COLUMN]   = { read_column, HOLDS_TEXT, false, "a column", NULL },
	[SET_TABLE]    = { read_table, HOLDS_TEXT, false, "a table, schema.table", NULL },
	[SET_DATABASE] = { read_text, HOLDS_TEXT, false, "a connection string, postgresql://... or key=value words", NULL },
	[SET_REDIS]    = { read_redis, HOLDS_TEXT, false, "redis://[:password@]host[:port][/db] or unix://[:password@]/path", NULL },
	[SET_LISTEN]   = { read_listen, HOLDS_TEXT, false, "host:port or unix:/path", NULL },
	[SET_COMMAND]  = { read_words, HOLDS_WORDS, true, "a command; quotes as in a shell, but no shell runs", NULL },
	[SET_STATES]   = { read_words, HOLDS_WORDS, true, "states, in quotes where they hold blanks", NULL },
	[SET_NAMES]    = { read_names, HOLDS_WORDS, true, "names of variables", NULL },
	[SET_COLUMNS]  = { read_columns, HOLDS_WORDS, true, "columns, with commas or blanks between", NULL },
	[SET_COUNT]    = { read_count, HOLDS_VALUE, false, NULL, NULL },
	[SET_TIME]     = { read_time, HOLDS_VALUE, false, NULL, "90s, 15m or 1h30m" },
	[SET_SIZE]     = { read_size, HOLDS_VALUE, false, NULL, "64KB or 1MB" },
	[SET_BOOL]     = { read_bool, HOLDS_VALUE, false, "yes or no", NULL },
	[SET_CHOICE]   = { read_choice, HOLDS_VALUE, false, NULL, NULL },
	[SET_RATE]     = { read_rate, HOLDS_VALUE, false, "a number a second, minute or hour", "60/m" },
};

static void expected_choice(const struct setting *row, struct buf *out)
{
	for (const struct choice *c = row->choices; c->name != NULL; c++)
		buf_addf(out, "%s%s", c == row->choices ? "" : c[1].name ? ", " : " or ", c->name);
}

static void expected_time(const struct setting *row, struct buf *out)
{
	char min[USEC_TEXT_MAX], max[USEC_TEXT_MAX];

	buf_addf(out, "a duration from %s to %s%s", usec_text(row->min, min), usec_text(row->max, max),
	         row->off ? " (0: off)" : "");
}

void setting_expected(const struct setting *row, struct buf *out)
{
	if (kinds[row->kind].expected)
		buf_adds(out, kinds[row->kind].expected);
	else if (row->kind == SET_CHOICE)
		expected_choice(row, out);
	else if (row->kind == SET_TIME)
		expected_time(row, out);
	else if (row->kind == SET_SIZE)
		buf_addf(out, "a size from %llu to %lluMB", (unsigned long long)row->min,
		         (unsigned long long)row->max >> 20);
	else
		buf_addf(out, "a whole number from %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
}

int setting_put(const struct setting *row, void *base, const char *text, struct error *err)
{
	const struct kind *kind = &kinds[row->kind];
	struct error why = ERROR_INIT;
	struct buf expected = BUF_INIT;

	if (!inifile_is_text(text, strlen(text)))
		return error_set(err, ERR_SETTINGS, "expected UTF-8 text without control characters");
	if (!kind->lines && strchr(text, '\n') != NULL)
		return error_set(err, ERR_SETTINGS, "expected one line; a line that is indented deeper than its key "
		                 "goes on the value");
	if (text[0] == '\0' && (row->kind == SET_TEXT || row->kind == SET_PATH)) {
		setting_release(row, base);	/* left empty: as if not written */
		setting_put_default(row, base);
		return 0;
	}
	if (kind->read(row, (char *)base + row->offset, text, &why) == 0) {
		if (row->set_offset)
			*(bool *)((char *)base + row->set_offset) = true;
		return 0;
	}
	if (why.kind != ERR_NONE)
		return error_set(err, ERR_SETTINGS, "%s", why.text);
	setting_expected(row, &expected);
	error_set(err, ERR_SETTINGS, "expected %s%s%s", buf_text(&expected), kind->as_in ? ", as in " : "",
	          kind->as_in ? kind->as_in : "");
	buf_release(&expected);
	return -1;
}

void setting_put_default(const struct setting *row, void *base)
{
	const struct kind *kind = &kinds[row->kind];
	void *place = (char *)base + row->offset;
	char *given = row->def_give ? row->def_give() : NULL;
	const char *def = given ? given : row->def;

	if (def != NULL)
		(void)kind->read(row, place, def, NULL);
	else if (kind->holds == HOLDS_TEXT)
		*(char **)place = xstrdup("");
	else if (kind->holds == HOLDS_WORDS)
		*(char ***)place = xcalloc(1, sizeof(char *));
	free(given);
}

void setting_release(const struct setting *row, void *base)
{
	void *place = (char *)base + row->offset;

	switch (kinds[row->kind].holds) {
	case HOLDS_TEXT:
		free(*(char **)place);
		*(char **)place = NULL;
		break;
	case HOLDS_WORDS:
		words_free(*(char ***)place);
		*(char ***)place = NULL;
		break;
	case HOLDS_VALUE:
		break;
	}
}

void setting_show(struct buf *out, const char *text)
{
	struct buf clean = BUF_INIT;

	utf8_clean(&clean, text, strlen(text), 80);
	for (const char *p = buf_text(&clean); *p != '\0'; p++) {
		if (*p == '\n')
			buf_adds(out, "\\n");
		else if ((unsigned char)*p < 0x20 || *p == 0x7f)
			buf_addf(out, "\\x%02x", (unsigned char)*p);
		else
			buf_addc(out, *p);
	}
	if (strlen(text) > 80)
		buf_adds(out, "...");
	buf_release(&clean);
}
