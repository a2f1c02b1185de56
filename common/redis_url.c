/*
 * redis_url.c - see redis_url.h. Not here: connecting (redis_dial.c, worker/redis_link.c).
 */
#include "redis_url.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define EXPECTED "expected redis://[:password@]host[:port][/db] or unix://[:password@]/path"
#define DEFAULT_PORT 6379

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* [from, to) with its %XX read. NULL: one that is no such thing, or a NUL. */
static char *decode(const char *from, const char *to)
{
	char *out = xmalloc((size_t)(to - from) + 1), *p = out;

	while (from < to) {
		int high, low;

		if (*from != '%') {
			*p++ = *from++;
			continue;
		}
		high = to - from > 2 ? hex(from[1]) : -1;
		low = to - from > 2 ? hex(from[2]) : -1;
		if (high < 0 || low < 0 || (high == 0 && low == 0)) {
			free(out);
			return NULL;
		}
		*p++ = (char)(high << 4 | low);
		from += 3;
	}
	*p = '\0';
	return out;
}

/* Digits from at to end, and nothing else. */
static bool read_number(const char *at, const char *end, uint64_t max, uint64_t *out)
{
	if (at == end)
		return false;
	for (*out = 0; at < end; at++) {
		if (*at < '0' || *at > '9' || (*out = *out * 10 + (uint64_t)(*at - '0')) > max)
			return false;
	}
	return true;
}

static int expected(struct error *err)
{
	return error_set(err, ERR_SETTINGS, EXPECTED);
}

static int bad_escape(struct error *err)
{
	return error_set(err, ERR_SETTINGS, "a %% begins no %%XX (write %% itself as %%25)");
}

/* ":password@" before what `at` points to; *at is moved behind it. end: of the text, or NULL of no @. */
static int read_password(struct redis_url *url, const char **at, const char *end, struct error *err)
{
	if (**at != ':')
		return end == NULL ? 0 : expected(err);
	if (end == NULL)
		return expected(err);
	url->password = decode(*at + 1, end);
	if (url->password == NULL)
		return bad_escape(err);
	*at = end + 1;
	return 0;
}

static int read_unix(struct redis_url *url, const char *at, struct error *err)
{
	const char *end = *at == ':' ? strstr(at, "@/") : NULL;

	if (read_password(url, &at, end, err) < 0)
		return -1;
	if (at[0] != '/' || at[1] == '\0')
		return expected(err);
	url->path = decode(at, at + strlen(at));
	if (url->path == NULL)
		return bad_escape(err);
	if (strlen(url->path) >= sizeof ((struct sockaddr_un *)NULL)->sun_path)
		return error_set(err, ERR_SETTINGS, "the path of the socket is longer than a socket's address can hold (107 bytes)");
	return 0;
}

/* host[:port], an IPv6 address in brackets. */
static int read_host(struct redis_url *url, const char *at, const char *end, struct error *err)
{
	bool brackets = *at == '[';
	const char *stop = brackets ? memchr(at, ']', (size_t)(end - at)) : at + strcspn(at, ":/ []");
	uint64_t port;

	if (stop == NULL || stop > end || stop == at + brackets)
		return expected(err);
	url->host = decode(at + brackets, stop);
	if (url->host == NULL)
		return bad_escape(err);
	stop += brackets;
	if (stop == end)
		return 0;
	if (*stop != ':')
		return expected(err);
	if (!read_number(stop + 1, end, 65535, &port) || port == 0)
		return expected(err);
	url->port = (uint16_t)port;
	return 0;
}

static int read_tcp(struct redis_url *url, const char *at, struct error *err)
{
	const char *end;
	uint64_t db;

	if (read_password(url, &at, strrchr(at, '@'), err) < 0)
		return -1;
	end = at + strcspn(at, "/");
	if (read_host(url, at, end, err) < 0)
		return -1;
	if (*end == '\0' || end[1] == '\0')
		return 0;
	if (!read_number(end + 1, end + strlen(end), INT_MAX, &db))
		return expected(err);
	url->db = (uint32_t)db;
	return 0;
}

int redis_url_parse(struct redis_url *url, const char *text, struct error *err)
{
	int status;

	*url = (struct redis_url){ .port = DEFAULT_PORT };
	if (text[0] == '\0')
		return 0;
	if (strncmp(text, "unix://", 7) == 0)
		status = read_unix(url, text + 7, err);
	else if (strncmp(text, "redis://", 8) == 0)
		status = read_tcp(url, text + 8, err);
	else
		status = expected(err);
	if (status < 0)
		redis_url_release(url);
	return status;
}

static void wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void redis_url_release(struct redis_url *url)
{
	free(url->path);
	free(url->host);
	wipe(url->password);
	*url = (struct redis_url){ .path = NULL };
}

void redis_describe(struct buf *out, const struct redis_url *url)
{
	if (url->path != NULL) {
		buf_adds(out, "unix://");
		buf_add_line(out, url->path, strlen(url->path));
	} else if (url->host != NULL) {
		bool brackets = strchr(url->host, ':') != NULL;

		buf_addf(out, "redis://%s", brackets ? "[" : "");
		buf_add_line(out, url->host, strlen(url->host));
		buf_addf(out, "%s:%u", brackets ? "]" : "", url->port);
	}
	if (url->db != 0)
		buf_addf(out, "/%u", url->db);
}
