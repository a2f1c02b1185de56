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

static void must_be_whole(const struct redis_url *url)
{
	struct buf shown = BUF_INIT;

	must((url->path == NULL) != (url->host == NULL));
	must(url->host == NULL || (url->host[0] != '\0' && url->port != 0));
	must(url->path == NULL || url->path[0] == '/');
	redis_describe(&shown, url);
	if (url->password != NULL && strlen(url->password) >= 8 && (url->host == NULL || strstr(url->host, url->password) == NULL)
	    && (url->path == NULL || strstr(url->path, url->password) == NULL))
		must(strstr(buf_text(&shown), url->password) == NULL || strstr("redis://unix://", url->password) != NULL);
	buf_release(&shown);
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
			must_be_whole(&url);
	}
	redis_url_release(&url);
	free(text);
	return 0;
}
