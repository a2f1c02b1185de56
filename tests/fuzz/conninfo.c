/*
 * conninfo.c - any text as a database URL: taken apart or refused, and a refusal never repeats a part of it.
 */
#include <string.h>
#include "fuzz.h"
#include "pg.h"

/* No eight characters in a row of the text are in the message, but for what the message always says. */
static void must_not_tell(const char *message, const char *text)
{
	static const char *const own[] = {
		("database_url: expected postgresql://user@host:port/database or key=value words as libpq knows them "
		 "(special characters in a URL as %XX)"),
		"database_url: the host holds an @ (write @ in a user name or password as %40)",
		"database_url: the port is not a number",
	};
	size_t len = strlen(text);

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(message, own[i]) == 0)
			return;
	for (size_t i = 0; i + 8 <= len; i++) {
		char part[9] = "";

		memcpy(part, text + i, 8);
		must(strstr(message, part) == NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conninfo ci;
	struct error err = ERROR_INIT;
	char *text = strndup((const char *)data, size);
	int rc;

	if (strstr(text, "service") != NULL) {	/* would read files of this machine */
		free(text);
		return 0;
	}
	rc = conninfo_init(&ci, text, "fuzz", &err);
	must((rc < 0) == (err.kind != ERR_NONE));
	if (rc < 0)
		must_not_tell(err.text, text);
	else
		for (size_t i = 0; i < ci.len; i++)
			must(ci.keywords[i][0] != '\0' && ci.values[i] != NULL);
	conninfo_release(&ci);
	free(text);
	return 0;
}
