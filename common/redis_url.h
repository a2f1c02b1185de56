/*
 * redis_url.h - where Redis is: redis://[:password@]host[:port][/db] or unix://[:password@]/path.
 *
 * What is special in a URL may be written as %XX. The text holds a password: no word of it is in an error, and
 * what is shown to people comes from redis_describe().
 */
#ifndef REDIS_URL_H
#define REDIS_URL_H

#include <stdint.h>
#include "buf.h"
#include "error.h"

struct redis_url {
	char *path;		/* of a unix socket; NULL: host and port */
	char *host;		/* a name, or an address without brackets */
	uint16_t port;
	char *password;		/* NULL: none */
	uint32_t db;
};

/* "" is no Redis: path and host NULL. -1: err (ERR_SETTINGS) says what was expected; url is empty then. */
int redis_url_parse(struct redis_url *url, const char *text, struct error *err);
void redis_url_release(struct redis_url *url);
void redis_describe(struct buf *out, const struct redis_url *url);	/* the same without the password */

#endif
