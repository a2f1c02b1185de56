/*
 * manage.h - the commands that act on the worker that a pidfile names: stop, status, reload,
 * quiet, resume.
 *
 * Whether it runs is told by the lock. A signal goes to exactly the process
 * that holds it (pidfd), never to one that got its number later.
 */
#ifndef MANAGE_H
#define MANAGE_H

#include "cli.h"

struct manage_options {
	const char *pidfile;
	usec_t timeout;		/* stop: 0 waits as long as it takes */
	bool force, json;
	bool live, ready;	/* status: 1 unless its loop answers; unless it claims */
};

int manage_stop(struct cli *cli, const struct manage_options *o);
int manage_status(struct cli *cli, const struct manage_options *o);	/* 0 running, 1 dead with a pidfile, 3 not running */
int manage_reload(struct cli *cli, const struct manage_options *o);
int manage_quiet(struct cli *cli, const struct manage_options *o);
int manage_resume(struct cli *cli, const struct manage_options *o);

#endif
