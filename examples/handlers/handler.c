/*
 * handler.c - a handler for both modes: mode = exec (one job, payload on stdin) and
 * mode = serve (JSON lines). The worker writes the members of a line in a fixed order, payload
 * last, so no JSON library is needed to pass it on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The work itself: the payload's JSON text in, the result's JSON text to stdout. */
static void work(const char *payload, size_t len)
{
	printf("{\"echo\":%.*s}", (int)len, payload);
}

int main(void)
{
	int serve = getenv("UNSTUCK_JOB_ID") == NULL;	/* only in exec mode is the job in the environment */
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getdelim(&line, &size, serve ? '\n' : EOF, stdin)) > 0) {	/* EOF: finish */
		static const char after_id[] = ",\"queue\":", before_payload[] = ",\"payload\":";
		const char *id_end = strstr(line, after_id), *payload = strstr(line, before_payload);

		if (!serve)
			work(line, (size_t)len);
		if (!serve || id_end == NULL || payload == NULL)
			continue;
		payload += strlen(before_payload);
		printf("%.*s,\"ok\":true,\"result\":", (int)(id_end - line), line);	/* {"id":"7" */
		work(payload, (size_t)(line + len - payload) - 2);	/* without "}\n" */
		puts("}");
		fflush(stdout);
	}
	free(line);
	return 0;
}
