/*
 * redis_server.h - a private Redis of the test, on a unix socket in its directory and a port of its own. It ends with the test.
 */
#ifndef REDIS_SERVER_H
#define REDIS_SERVER_H

#include "proc.h"

/* password NULL: none. Comes back when it answers. Again after a kill: the same place, with nothing in it. */
#define must_have_redis(password) (story_at(__FILE__, __LINE__), redis_server_start(password))
/* One command, its words as arguments; the answer as text ("" for nil, elements joined by blanks). An error fails the test. */
#define redis_say(...) (story_at(__FILE__, __LINE__), redis_server_say(WORDS(__VA_ARGS__)))

struct proc *redis_server_start(const char *password);
void redis_server_kill(void);
const char *redis_server_say(const char *const *words);
const char *redis_server_url(void);	/* redis_url for it, with the password, by its socket */
int redis_server_port(void);		/* on 127.0.0.1 */

/* Messages of a channel from now on; NULL: none within 10 s. Lives as long as the test. */
void redis_listen(const char *channel);
const char *redis_heard(void);

#endif
