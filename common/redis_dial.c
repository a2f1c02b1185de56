/*
 * redis_dial.c - see redis_dial.h.
 */
#include "redis_dial.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

static struct timeval timeval_of(usec_t t)
{
	return (struct timeval){ .tv_sec = (time_t)(t / SEC), .tv_usec = (suseconds_t)(t % SEC) };
}

/* hiredis tells a timeout as EAGAIN. */
static const char *context_error(const redisContext *c)
{
	return c->err == REDIS_ERR_IO && strstr(c->errstr, "temporarily unavailable") != NULL ? "no answer in time" : c->errstr;
}

int redis_tell(redisContext *c, int argc, const char *const *argv, struct error *err)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);		/* hiredis would end us with a connection that was closed */
	redisReply *reply = redisCommandArgv(c, argc, (const char **)(uintptr_t)argv, NULL);
	int status = 0;

	signal(SIGPIPE, before);
	if (reply == NULL)
		status = error_set(err, ERR_SYS, "%s: %s", argv[0], context_error(c));
	else if (reply->type == REDIS_REPLY_ERROR)
		status = error_set(err, ERR_SYS, "%s: %s", argv[0], reply->str);
	if (reply != NULL)
		freeReplyObject(reply);
	return status;
}

static int let_in(redisContext *c, const struct redis_url *url, struct error *err)
{
	char db[16];

	snprintf(db, sizeof db, "%u", url->db);
	if (url->password != NULL && redis_tell(c, 2, (const char *const[]){ "AUTH", url->password }, err) < 0)
		return -1;
	if (url->db != 0 && redis_tell(c, 2, (const char *const[]){ "SELECT", db }, err) < 0)
		return -1;
	return redis_tell(c, 1, (const char *const[]){ "PING" }, err);
}

static redisContext *reach(const struct redis_url *url, usec_t patience, struct error *err)
{
	struct addresses found = { .len = 0 };
	redisContext *c = NULL;

	if (url->path != NULL)
		return redisConnectUnixWithTimeout(url->path, timeval_of(patience));
	if (resolve_wait(url->host, patience, &found, err) < 0)
		return NULL;
	for (size_t i = 0; i < found.len && (c == NULL || c->err != 0); i++) {
		if (c != NULL)
			redisFree(c);
		c = redisConnectWithTimeout(found.text[i], url->port, timeval_of(patience));
	}
	return c;
}

redisContext *redis_dial(const struct redis_url *url, usec_t patience, struct error *err)
{
	struct error why = ERROR_INIT;
	struct buf where = BUF_INIT;
	redisContext *c = reach(url, patience, &why);

	if (c == NULL)
		error_set(&why, ERR_SYS, "no connection");
	else if (c->err != 0)
		error_set(&why, ERR_SYS, "%s", context_error(c));
	else if (redisSetTimeout(c, timeval_of(patience)) == REDIS_OK)
		let_in(c, url, &why);
	if (why.kind != ERR_NONE) {
		redis_describe(&where, url);
		error_set(err, why.kind, "%s: %s", buf_text(&where), why.text);
		buf_release(&where);
		if (c != NULL)
			redisFree(c);
		return NULL;
	}
	return c;
}
