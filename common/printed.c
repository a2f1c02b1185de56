/*
 * printed.c - see printed.h.
 */
#include "printed.h"

#include <ctype.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

bool ended_from_outside(int status)
{
	int signo = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return signo == SIGTERM || signo == SIGINT || signo == SIGKILL;
}

void printed_result(struct buf *out, bool text)
{
	size_t len = out->len;
	json_t *string;
	char *dumped;

	while (len > 0 && isspace((unsigned char)out->data[len - 1]))
		len--;
	if (text) {
		string = json_stringn(buf_text(out), len);
		dumped = string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
		buf_clear(out);
		buf_adds(out, dumped != NULL ? dumped : "null");
		free(dumped);
		json_decref(string);
	} else if (len == 0) {
		buf_clear(out);
		buf_adds(out, "null");
	}
}
