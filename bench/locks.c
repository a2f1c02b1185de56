/*
 * locks.c - the longest time that one transaction can have held row locks.
 *
 *   locks URL        looks until it gets TERM, then prints "LONGEST_MS STEP_MS"
 *
 * A transaction has a number from its first lock or change on, until it has committed. A second
 * connection looks, without a pause, which numbers are under way: from the last look
 * without a number to the first without it again is the longest time that any of its locks lived.
 * So the figure is never too low, and too high by two looks (STEP_MS) at most.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "must.h"
#include "must_pg.h"

#define SEEN_MAX 64
#define LOOK "SELECT backend_xid::text FROM pg_stat_get_activity(NULL)" \
             " WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND datid IS NOT NULL"

struct seen {
	unsigned long xid;
	double since;		/* the last look before it was there */
	bool there;
};

static struct seen seen[SEEN_MAX];
static int seen_count;
static double longest, step;
static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void note(unsigned long xid, double before)
{
	int i;

	for (i = 0; i < seen_count && seen[i].xid != xid; i++)
		;
	if (i == SEEN_MAX)
		die("too many transactions at once");
	if (i == seen_count)
		seen[seen_count++] = (struct seen){ .xid = xid, .since = before };
	seen[i].there = true;
}

/* Those that are there no more have ended at some time before now. */
static void forget(double now)
{
	int i;

	for (i = 0; i < seen_count;) {
		if (now - seen[i].since > longest)
			longest = now - seen[i].since;
		if (!seen[i].there)
			seen[i] = seen[--seen_count];
		else
			seen[i++].there = false;
	}
}

static double look(PGconn *conn, double before)
{
	PGresult *res = PQexecPrepared(conn, "look", 0, NULL, NULL, NULL, 0);
	double now = now_us();
	int i;

	must_be(conn, res, PGRES_TUPLES_OK);
	for (i = 0; i < PQntuples(res); i++)
		note(strtoul(PQgetvalue(res, i, 0), NULL, 10), before);
	PQclear(res);
	forget(now);
	return now;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = end };
	struct timespec pause = { .tv_nsec = 500000 };	/* a look takes 0.1 ms: leave the processor to the others */
	double before, start;
	long looks = 0;
	PGconn *conn;

	if (argc != 2)
		die("locks URL");
	(void)sigaction(SIGTERM, &act, NULL);
	conn = must_connect(argv[1]);
	PQclear(PQprepare(conn, "look", LOOK, 0, NULL));
	for (start = before = now_us(); !ended; looks++) {
		before = look(conn, before);
		(void)nanosleep(&pause, NULL);
	}
	step = looks > 0 ? (before - start) / (double)looks : 0;
	printf("%.3f %.3f\n", longest / 1e3, step / 1e3);
	PQfinish(conn);
	return 0;
}
