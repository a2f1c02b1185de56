/*
 * redis_url.c - any text as redis_url: taken apart or refused, and what is told of it never holds a part of the password.
 */
#include <string.h>
#include "fuzz.h"
#include "redis_url.h"

/* All that there is to say about a wrong one. */
static bool is_own(const char *message)
{
	static const char *const own[] = {
		"expected redis://[:password@]host[:port][/db] or unix://[:password@]/path",
		"a % begins no %XX (write % itself as %25)",
		"the path of the socket is longer than a socket's address can hold (107 bytes)",
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(message, own[i]) == 0)
			return true;
	return false;
}

/* What is told of a URL is what is told of the same one without its ":password@". */
static void must_keep_silent(const struct redis_url *url, const char *text, size_t scheme_len)
{
	size_t password_len = strlen(url->password) + 2;
	struct error err = ERROR_INIT;
	struct buf shown = BUF_INIT, without = BUF_INIT;
	struct redis_url open;
	char *rest;

	if (strchr(text, '%') != NULL)	/* it may be longer in the text */
		return;
	must(text[scheme_len] == ':' && memcmp(text + scheme_len + 1, url->password, password_len - 2) == 0);
	must(text[scheme_len + password_len - 1] == '@');
	rest = strdup(text);
	memmove(rest + scheme_len, text + scheme_len + password_len, strlen(text) + 1 - scheme_len - password_len);
	must(redis_url_parse(&open, rest, &err) == 0 && open.password == NULL);
	redis_describe(&shown, url);
	redis_describe(&without, &open);
	must(strcmp(buf_text(&shown), buf_text(&without)) == 0);
	buf_release(&shown);
	buf_release(&without);
	redis_url_release(&open);
	free(rest);
}

static void must_be_whole(const struct redis_url *url, const char *text)
{
	must((url->path == NULL) != (url->host == NULL));
	must(url->host == NULL || (url->host[0] != '\0' && url->port != 0));
	must(url->path == NULL || url->path[0] == '/');
	if (url->password != NULL)
		must_keep_silent(url, text, strlen(url->path != NULL ? "unix://" : "redis://"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct error err = ERROR_INIT;
	struct redis_url url;

	if (redis_url_parse(&url, text, &err) < 0) {
		must(is_own(err.text) && url.path == NULL && url.host == NULL && url.password == NULL);
	} else {
		must(err.kind == ERR_NONE);
		if (text[0] != '\0')
			must_be_whole(&url, text);
	}
	redis_url_release(&url);
	free(text);
	return 0;
}
