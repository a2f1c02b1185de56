/*
 * keeper.h - what outlives a single test: the directory of a test program and
 * its private PostgreSQL server.
 *
 * The keeper is a process of its own beside the one that runs the suite. It is
 * the server's parent, so it knows for sure when the server is gone, and it
 * ends the server and removes the directory when the suite ends, however it ends.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

enum server_order {
	SERVER_START,		/* made at the first time; nothing when it runs */
	SERVER_STOP,		/* fast: sessions are ended, all is written */
	SERVER_CRASH,		/* immediate: recovery at the next start */
	SERVER_KILL,		/* SIGKILL to the postmaster */
};

void keeper_start(void);		/* once, in the process that runs the suite */
pid_t keeper_pid(void);
const char *keeper_dir(void);		/* where tests make their directories */
const char *server_dir(void);		/* host= of the server */
void keeper_order(enum server_order order);	/* from any test; returns when it is so, else fails the test */
bool server_running(void);

#endif
