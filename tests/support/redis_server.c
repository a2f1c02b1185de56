/*
 * redis_server.c - see redis_server.h.
 */
#include "redis_server.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"

static const char *the_password;
static struct proc *the_server;
static redisContext *listener;
static int the_port;

static const char *socket_path(void)
{
	return test_path("redis.sock");
}

static redisContext *connect_to_it(void)
{
	redisContext *c = redisConnectUnixWithTimeout(socket_path(), (struct timeval){ .tv_sec = 1 });
	redisReply *reply = NULL;

	if (c != NULL && c->err == 0)
		redisSetTimeout(c, (struct timeval){ .tv_sec = 10 });
	if (c != NULL && c->err == 0)
		reply = the_password != NULL ? redisCommand(c, "AUTH %s", the_password) : redisCommand(c, "PING");
	if (reply != NULL && reply->type != REDIS_REPLY_ERROR) {
		freeReplyObject(reply);
		return c;
	}
	if (reply != NULL)
		freeReplyObject(reply);
	if (c != NULL)
		redisFree(c);
	return NULL;
}

static const char *text_of(const redisReply *r)
{
	const char *text = "";

	switch (r->type) {
	case REDIS_REPLY_INTEGER: return story_text("%lld", r->integer);
	case REDIS_REPLY_NIL:     return "";
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++)
			text = story_text("%s%s%s", text, i ? " " : "", text_of(r->element[i]));
		return text;
	default:                  return story_text("%s", r->str);
	}
}

/* That nobody has just now. */
static int free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof sa;

	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		story_fail("no port");
	close(fd);
	return ntohs(sa.sin_port);
}

int redis_server_port(void)
{
	return the_port;
}

struct proc *redis_server_start(const char *password)
{
	uint64_t until = story_until(10000);
	redisContext *c;

	the_password = password;
	if (the_port == 0)
		the_port = free_port();
	the_server = proc_start(NULL, WORDS("redis-server", "--bind", "127.0.0.1", "--port", story_text("%d", the_port), "--unixsocket", socket_path(), "--save", "",
	                                    "--appendonly", "no", "--requirepass", password != NULL ? password : ""));
	while ((c = connect_to_it()) == NULL)
		if (!story_wait(until))
			story_fail("redis-server does not answer: %s", proc_out(the_server));
	redisFree(c);
	return the_server;
}

void redis_server_kill(void)
{
	proc_signal(the_server, SIGKILL);
	proc_must_exit(the_server, 128 + SIGKILL, 10000);
}

const char *redis_server_say(const char *const *words)
{
	redisContext *c = connect_to_it();
	const char *text;
	redisReply *reply;
	int n = 0;

	if (c == NULL)
		story_fail("no connection to redis-server");
	while (words[n] != NULL)
		n++;
	reply = redisCommandArgv(c, n, (const char **)(uintptr_t)words, NULL);
	if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
		story_fail("%s: %s", words[0], reply != NULL ? reply->str : c->errstr);
	text = text_of(reply);
	freeReplyObject(reply);
	redisFree(c);
	return text;
}

const char *redis_server_url(void)
{
	return the_password != NULL ? story_text("unix://:%s@%s", the_password, socket_path()) : story_text("unix://%s", socket_path());
}

static void stop_listening(void *arg)
{
	redisFree(arg);
}

void redis_listen(const char *channel)
{
	redisReply *reply;

	listener = connect_to_it();
	if (listener == NULL)
		story_fail("no connection to redis-server");
	story_after(stop_listening, listener);
	reply = redisCommand(listener, "SUBSCRIBE %s", channel);
	freeReplyObject(reply);
}

const char *redis_heard(void)
{
	redisReply *reply = NULL;
	const char *text;

	if (redisGetReply(listener, (void **)&reply) != REDIS_OK)
		return NULL;
	text = reply->elements == 3 ? text_of(reply->element[2]) : NULL;
	freeReplyObject(reply);
	return text;
}
