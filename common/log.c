/*
 * log.c - events to lines, lines to the log file or stderr.
 *
 * Lives here: the two formats and their escaping, levels, opening and reopening, who else is told.
 * Not here:   what an event is called or when it is worth one (the callers), syslog's protocol (log_syslog.c),
 *             the daily turn of a file (log_rotate.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "buf.h"
#include "clock.h"
#include "log.h"
#include "log_rotate.h"
#include "log_syslog.h"

#define VALUE_MAX 8192		/* bytes of a value that are logged */
#define WAIT_MS 100		/* for a reader that is slow to take a line */

static const struct {
	const char *name;
	const char *priority;	/* what the journal reads at the start of a line */
} levels[] = {
	[LOG_DEBUG]   = { "debug",   "<7>" },
	[LOG_INFO]    = { "info",    "<6>" },
	[LOG_WARNING] = { "warning", "<4>" },
	[LOG_ERROR]   = { "error",   "<3>" },
};

static struct {
	enum log_level level;
	enum log_format format;
	int fd;
	char *path;		/* absolute; NULL for stderr */
	bool torn;		/* the last line was written in part only */
	bool syslog;
	unsigned keep;		/* daily rotation: old files; 0: none */
	int64_t day;		/* that the lines in the file are of, since 1970 */
} out = { .level = LOG_INFO, .format = LOG_TEXT, .fd = STDERR_FILENO };

static struct watcher {
	struct watcher *next;
	enum log_level level;
	log_watch_fn *fn;
	void *arg;
} *watchers;

/* The sequence at p as a code point; n is its length from utf8_sequence(). */
static uint32_t code_point(const char *p, size_t n)
{
	static const unsigned char lead_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
	uint32_t c = (unsigned char)p[0] & lead_bits[n];

	for (size_t i = 1; i < n; i++)
		c = c << 6 | ((unsigned char)p[i] & 0x3F);
	return c;
}

/*
 * What never goes out as it is: controls (C1 too, terminals obey them), the
 * line ends of Unicode, and what turns the direction of the text that follows.
 */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x2028 && c <= 0x202E) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

/* How much of the value is logged: whole characters, VALUE_MAX bytes at most. */
static size_t value_length(const char *text, bool *cut)
{
	size_t len = strnlen(text, VALUE_MAX + 1);

	*cut = len > VALUE_MAX;
	if (!*cut)
		return len;
	len = VALUE_MAX;
	/* The NUL at the end ends every sequence before it could be read past. */
	for (size_t back = 1; back <= 3; back++)
		if (utf8_sequence(text + len - back, 4) > back)
			return len - back;
	return len;
}

static void escape_text(struct buf *line, const char *p, size_t len)
{
	while (len) {
		size_t n = utf8_sequence(p, len);
		bool raw = n && !is_unsafe(code_point(p, n));

		if (n == 0)
			n = 1;
		if (*p == '"' || *p == '\\')
			buf_addf(line, "\\%c", *p);
		else if (*p == '\n' || *p == '\t')
			buf_adds(line, *p == '\n' ? "\\n" : "\\t");
		else if (raw)
			buf_add(line, p, n);
		else
			for (size_t i = 0; i < n; i++)
				buf_addf(line, "\\x%02x", (unsigned char)p[i]);
		p += n;
		len -= n;
	}
}

/* Nothing in it that a reader of key=value could take for something else. */
static bool is_plain(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] <= ' ' || p[i] > '~' || strchr("\"'\\=", p[i]))
			return false;
	return len > 0;
}

static void add_text_value(struct buf *line, const char *text)
{
	bool cut;
	size_t len = value_length(text, &cut);

	if (!cut && is_plain(text, len)) {
		buf_add(line, text, len);
		return;
	}
	buf_addc(line, '"');
	escape_text(line, text, len);
	buf_adds(line, cut ? "...\"" : "\"");
}

static void escape_json(struct buf *line, const char *p, size_t len)
{
	while (len) {
		size_t n = utf8_sequence(p, len);
		uint32_t c = n ? code_point(p, n) : 0xFFFD;

		if (n == 0) {
			n = 1;
			buf_adds(line, "\xEF\xBF\xBD");	/* U+FFFD, the replacement character */
		} else if (c == '"' || c == '\\') {
			buf_addf(line, "\\%c", *p);
		} else if (c == '\n' || c == '\t') {
			buf_adds(line, c == '\n' ? "\\n" : "\\t");
		} else if (is_unsafe(c)) {
			buf_addf(line, "\\u%04" PRIx32, c);
		} else {
			buf_add(line, p, n);
		}
		p += n;
		len -= n;
	}
}

static void add_json_string(struct buf *line, const char *text)
{
	bool cut;
	size_t len = value_length(text, &cut);

	buf_addc(line, '"');
	escape_json(line, text, len);
	buf_adds(line, cut ? "...\"" : "\"");
}

static void render_text(struct buf *line, const char *ts, enum log_level level, const char *event,
                        const struct log_field *fields)
{
	buf_addf(line, "%s %s event=", ts, levels[level].name);
	add_text_value(line, event);
	for (const struct log_field *f = fields; f->key; f++) {
		buf_addf(line, " %s=", f->key);
		if (f->text)
			add_text_value(line, f->text);
		else
			buf_addf(line, "%" PRId64, f->number);
	}
}

static void render_json(struct buf *line, const char *ts, enum log_level level, const char *event,
                        const struct log_field *fields)
{
	buf_addf(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":", ts, levels[level].name);
	add_json_string(line, event);
	for (const struct log_field *f = fields; f->key; f++) {
		buf_addc(line, ',');
		add_json_string(line, f->key);
		buf_addc(line, ':');
		if (f->text)
			add_json_string(line, f->text);
		else
			buf_addf(line, "%" PRId64, f->number);
	}
	buf_addc(line, '}');
}

void log_add_json(struct buf *line, enum log_level level, const char *event, const struct log_field *fields)
{
	char ts[WALL_TEXT_MAX];

	render_json(line, wall_text(clock_wall(), ts), level, event, fields);
}

/* Is stderr the journal's? Its $JOURNAL_STREAM, "dev:ino", may be inherited along with another stderr. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[48];
	struct stat st;

	if (out.path || out.syslog || !stream || fstat(out.fd, &st))
		return false;
	snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0;
}

/* One write() a line. What cannot be written is lost: logging never stops the work. */
static void put_line(const char *p, size_t len)
{
	size_t left = len;

	while (left) {
		ssize_t n = write(out.fd, p, left);

		if (n >= 0) {
			p += n;
			left -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;

		struct pollfd ready = { .fd = out.fd, .events = POLLOUT };

		if (errno != EAGAIN || poll(&ready, 1, WAIT_MS) <= 0)
			break;
	}
	if (left < len)
		out.torn = left > 0;
}

static void tell_watchers(enum log_level level, const char *event, const struct log_field *fields)
{
	for (const struct watcher *w = watchers; w != NULL; w = w->next)
		if (level >= w->level)
			w->fn(w->arg, level, event, fields);
}

static void turn_file(int64_t today)
{
	struct error err = ERROR_INIT;
	int turned = log_rotate(out.path, out.fd, out.day, out.keep, &err);

	if (turned > 0)
		log_reopen(&err);
	out.day = today;	/* whatever came of it: tried once a day */
	if (err.kind != ERR_NONE)
		log_event(LOG_ERROR, "log_rotate_failed", LS("error", err.text), LS("next", "the log goes on in the same file"));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	struct buf line = BUF_INIT;
	char ts[WALL_TEXT_MAX];
	int saved = errno;
	usec_t now;

	tell_watchers(level, event, fields);
	if (!log_wants(level)) {
		errno = saved;
		return;
	}
	now = clock_wall();
	if (out.keep != 0 && out.path != NULL && (int64_t)(now / DAY) != out.day)
		turn_file((int64_t)(now / DAY));
	wall_text(now, ts);
	if (out.torn)
		buf_addc(&line, '\n');
	if (out.format == LOG_TEXT && is_journal())
		buf_adds(&line, levels[level].priority);
	(out.format == LOG_JSON ? render_json : render_text)(&line, ts, level, event, fields);
	if (out.syslog) {
		log_syslog_send(levels[level].priority[1] - '0', buf_text(&line), line.len);
	} else {
		buf_addc(&line, '\n');
		put_line(line.data, line.len);
	}
	buf_release(&line);
	errno = saved;
}

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

static void use_file(int fd, char *path)
{
	if (out.path) {
		close(out.fd);
		free(out.path);
	}
	out.fd = fd;
	out.path = path;
	out.torn = false;
	out.syslog = false;
	out.day = log_rotate_day_of(fd);
}

/* Whoever changes the directory: reopening must find the same file. */
static char *absolute(const char *path)
{
	char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *whole = here ? xasprintf("%s/%s", here, path) : xstrdup(path);

	free(here);
	return whole;
}

int log_open(enum log_level level, enum log_format format, const char *path, struct error *err)
{
	if (!path || !*path) {
		use_file(STDERR_FILENO, NULL);
	} else if (strcmp(path, LOG_TO_SYSLOG) == 0) {
		use_file(STDERR_FILENO, NULL);
		out.syslog = true;
	} else {
		int fd = open_file(path);

		if (fd < 0)
			return error_set(err, ERR_SETTINGS, "log file %s: %s", path, strerror(errno));
		use_file(fd, absolute(path));
	}
	out.level = level;
	out.format = format;
	return 0;
}

int log_reopen(struct error *err)
{
	int fd;

	if (!out.path)
		return 0;
	fd = open_file(out.path);
	if (fd < 0)
		return error_set(err, ERR_SYS, "log file %s: %s", out.path, strerror(errno));
	close(out.fd);
	out.fd = fd;
	out.torn = false;
	out.day = log_rotate_day_of(fd);
	return 0;
}

void log_set_rotation(unsigned keep)
{
	out.keep = keep;
}

void log_set_level(enum log_level level)
{
	out.level = level;
}

bool log_wants(enum log_level level)
{
	return level >= out.level;
}

bool log_is_heard(enum log_level level)
{
	for (const struct watcher *w = watchers; w != NULL; w = w->next)
		if (level >= w->level)
			return true;
	return log_wants(level);
}

void log_watch(enum log_level level, log_watch_fn *fn, void *arg)
{
	struct watcher *w = xmalloc(sizeof *w);

	*w = (struct watcher){ watchers, level, fn, arg };
	watchers = w;
}

void log_unwatch(log_watch_fn *fn, void *arg)
{
	for (struct watcher **at = &watchers; *at != NULL; at = &(*at)->next)
		if ((*at)->fn == fn && (*at)->arg == arg) {
			struct watcher *gone = *at;

			*at = gone->next;
			free(gone);
			return;
		}
}
