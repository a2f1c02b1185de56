/*
 * control_address.h - where the socket beside a pidfile is, for who listens and who asks.
 */
#ifndef CONTROL_ADDRESS_H
#define CONTROL_ADDRESS_H

#include <sys/socket.h>
#include <sys/un.h>
#include "error.h"

#define CONTROL_TOO_LONG 1000000	/* bytes of an answer */

/*
 * PIDFILE.sock, by way of its directory's descriptor: an address holds 107 bytes, a path may be longer. The
 * caller closes *dir when the call that uses sa is over. -1: no such directory, or errno.
 */
int control_address(const char *pidfile, struct sockaddr_un *sa, int *dir);
char *control_path(const char *pidfile);	/* the caller frees it */

#endif
