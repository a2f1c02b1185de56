/*
 * proxy.h - a process between workers and the server that fails on order: a socket for each lane,
 * host=LANE_DIR as the server's own directory would be.
 */
#ifndef PROXY_H
#define PROXY_H

#include <sys/types.h>

enum proxy_order {
	PROXY_PASS,	/* all is well again; connections whose replies were swallowed are cut */
	PROXY_CUT,	/* connections are closed, now */
	PROXY_PAUSE,	/* nothing moves in either direction */
	PROXY_REFUSE,	/* connections are closed, and new ones too */
	PROXY_SWALLOW,	/* requests arrive, replies do not */
	PROXY_LOOK,	/* nothing; how many connections there are */
	PROXY_CATCH,	/* the same, from the first request on that has this text; cut once there was a reply */
};

struct proxy;

/* In the directory of the test. It ends with the test. */
struct proxy *proxy_start(const char *server_dir, int lanes);
const char *proxy_dir(int lane);
pid_t proxy_pid(const struct proxy *p);
/* text: of PROXY_CATCH. Comes back when it is so. The number of connections that were there. */
int proxy_order(struct proxy *p, int lane, enum proxy_order order, const char *text);

#endif
