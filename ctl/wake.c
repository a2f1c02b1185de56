/*
 * wake.c - see wake.h.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include "redis_dial.h"
#include "wake.h"

#define PATIENCE (500 * MSEC)	/* for each step: who enqueues does not wait for a hint */

void wake_tell(struct ctl *ctl, const char *queue)
{
	const char *argv[] = { "PUBLISH", "unstuck:wake", queue };
	struct error err = ERROR_INIT;
	struct redis_url url;
	redisContext *c = NULL;

	if (ctl->settings.redis_url[0] == '\0' || redis_url_parse(&url, ctl->settings.redis_url, &err) < 0)
		return;
	fflush(stdout);		/* the id is there, whatever becomes of this */
	c = redis_dial(&url, PATIENCE, &err);
	if (c == NULL || redis_tell(c, ARRAY_SIZE(argv), argv, &err) < 0)
		cli_complain(&ctl->cli, "warning: enqueued, but Redis could not be told (workers see it when they look next): %s", err.text);
	if (c != NULL)
		redisFree(c);
	redis_url_release(&url);
}
