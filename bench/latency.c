/*
 * latency.c - from a job committed to its handler started.
 *
 *   latency enqueue URL FIFO COUNT GAP_MS SQL    run SQL (one transaction, one job) COUNT times; each
 *                                                time wait for the handler's stamp, then GAP_MS
 *   latency listen URL FIFO CHANNEL              the floor: a bare LISTEN client that stamps
 *
 * enqueue prints "p50 p95 p99" in ms: first from the moment the client knew of the
 * commit, then from the moment it sent the statement.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "must.h"
#include "must_pg.h"

#define PATIENCE_MS 10000

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd == -1)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static double next_stamp(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	double at = 0;

	if (poll(&wait, 1, PATIENCE_MS) != 1 || read(fd, &at, sizeof at) != sizeof at)
		die("no handler started within %d ms", PATIENCE_MS);
	return at;
}

static void tell(double *us, size_t count)
{
	printf("%.4f %.4f %.4f\n", percentile(us, count, 0.5) / 1e3, percentile(us, count, 0.95) / 1e3,
	       percentile(us, count, 0.99) / 1e3);
}

static int enqueue(char **argv)
{
	PGconn *conn = must_connect(argv[0]);
	int fd = must_open(argv[1], O_RDWR);	/* both ends: never EOF */
	int count = must_number(argv[2], "COUNT");
	int gap = must_number(argv[3], "GAP_MS");
	double *committed = must_alloc((size_t)count, sizeof *committed);
	double *sent = must_alloc((size_t)count, sizeof *sent);
	int i;

	PQclear(PQprepare(conn, "enqueue", argv[4], 0, NULL));
	for (i = 0; i < count; i++) {
		struct timespec pause = { .tv_sec = gap / 1000, .tv_nsec = gap % 1000 * 1000000L };
		double begin, end, at;
		PGresult *res;

		(void)nanosleep(&pause, NULL);
		begin = now_us();
		res = PQexecPrepared(conn, "enqueue", 0, NULL, NULL, NULL, 0);
		end = now_us();
		if (PQresultStatus(res) != PGRES_TUPLES_OK)
			must_be(conn, res, PGRES_COMMAND_OK);
		PQclear(res);
		at = next_stamp(fd);
		committed[i] = at - end;
		sent[i] = at - begin;
	}
	tell(committed, (size_t)count);
	tell(sent, (size_t)count);
	PQfinish(conn);
	return 0;
}

static int listen_and_stamp(char **argv)
{
	PGconn *conn = must_connect(argv[0]);
	struct pollfd wait = { .fd = PQsocket(conn), .events = POLLIN };
	int fd = must_open(argv[1], O_WRONLY);
	char sql[128];
	PGnotify *note;

	(void)snprintf(sql, sizeof sql, "LISTEN %s", argv[2]);
	must_exec(conn, sql);
	while (poll(&wait, 1, -1) == 1 && PQconsumeInput(conn))
		while ((note = PQnotifies(conn)) != NULL) {
			double at = now_us();

			PQfreemem(note);
			if (write(fd, &at, sizeof at) != sizeof at)
				return 1;
		}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "enqueue") == 0)
		return enqueue(argv + 2);
	if (argc == 5 && strcmp(argv[1], "listen") == 0)
		return listen_and_stamp(argv + 2);
	die("latency enqueue URL FIFO COUNT GAP_MS SQL | latency listen URL FIFO CHANNEL");
}
