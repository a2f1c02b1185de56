/*
 * http_listen.h - the sockets that `[http] listen` names: host:port (all addresses of the host) or unix:/path.
 *
 * Not here: what is said over them (http.c).
 */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "error.h"

#define HTTP_LISTEN_MAX 8	/* addresses of one host */

struct http_listen {
	int fds[HTTP_LISTEN_MAX];	/* listening, non-blocking; http_listen_close() closes those that are not -1 */
	size_t len;
	bool is_unix;
	bool is_public;			/* others than this host can reach one of them */
	char host[256];			/* as it was asked for, without brackets; "" for a path */
	char *path;			/* of the unix socket */
	dev_t dev;			/* the socket that is ours there: another one is not removed */
	ino_t ino;
};

/*
 * A socket file that nobody listens on is replaced, one that is in use never. ERR_SETTINGS: the address can never
 * work here; ERR_SYS: it is taken.
 */
int http_listen_open(struct http_listen *l, const char *address, struct error *err);
void http_listen_close(struct http_listen *l);

#endif
