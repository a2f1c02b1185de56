/*
 * floor.c - the floor of a drain: the row changes of a worker by plain libpq, and nothing else.
 *
 *   floor make  URL LAYOUT            run the layout's section make
 *   floor fill  URL LAYOUT JOBS       its section fill, then VACUUM ANALYZE
 *   floor drain URL LAYOUT [--batch N] [--connections N] [--ahead N] [--apart] [--result BYTES]
 *
 * drain claims batches and completes them until nothing is left: no handler, no fences, no settings,
 * no signals. It is meant to be as fast as such a program can be: prepared statements, binary ids, one
 * array a batch, pipeline mode; "complete batch k, claim the next" is one transaction and so one flush of the
 * WAL, and while the server works on that, the batch before is read (--ahead 2: so many transactions are under
 * way on a connection). --apart: two transactions instead. LAYOUT (layouts/x.sql) says what a claim
 * and a completion are:
 *
 *   claim     $1 int limit [, $2 bigint: the largest id claimed so far]  -> id bigint, ... , payload
 *   complete  $1 bigint[] ids [, $2 text[] results]
 *   size      one number, bytes that the tables and indexes take (for the growth)
 *
 * It prints one line: jobs, jobs a second, the same for the first and the last tenth of the jobs, WAL bytes a
 * job, bytes that the tables grew by per job.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "layout.h"
#include "must.h"
#include "must_pg.h"

#define INT8ARRAYOID 1016
#define INT8OID 20
#define AHEAD_MAX 16
#define MARKS_MAX 200000	/* batches of which a connection notes the time */

struct options {
	const char *url;
	struct layout layout;
	int batch, connections, ahead, result;
	bool apart;
};

/* What a connection did. Shared memory: a process each. */
struct lane {
	double begin, end;
	long jobs;
	int marks;
	struct { double at; int jobs; } mark[MARKS_MAX];
};

/* A batch's ids in PostgreSQL's binary form of bigint[], which is what complete is sent. */
struct ids {
	char *bytes;
	int count;
	int len;
};

struct drain {
	const struct options *options;
	PGconn *conn;
	struct lane *lane;
	int claim_params, complete_params;
	struct ids ids;
	char *results;		/* text[] literal for a full batch */
	int64_t last_id;
	unsigned long payload_bytes;	/* touched, so that reading them is not left out */
	int under_way;		/* transactions sent and not read */
	bool completes[AHEAD_MAX];	/* whether each of them completes a batch too */
	int first;
	bool dry;
};

static void put_int(char **at, uint32_t value)
{
	value = htobe32(value);
	memcpy(*at, &value, 4);
	*at += 4;
}

/* One dimension, no NULLs, type, length, lower bound 1; then each value with its length. */
static void ids_begin(struct ids *ids, int count)
{
	char *at = ids->bytes;

	put_int(&at, 1);
	put_int(&at, 0);
	put_int(&at, INT8OID);
	put_int(&at, (uint32_t)count);
	put_int(&at, 1);
	ids->count = 0;
	ids->len = (int)(at - ids->bytes);
}

/* The value is in network order already, as it came. */
static void ids_add(struct ids *ids, const char *value)
{
	char *at = ids->bytes + ids->len;

	put_int(&at, 8);
	memcpy(at, value, 8);
	ids->len += 12;
	ids->count++;
}

/* {"...","..."}: each a JSON string of so many bytes. */
static char *make_results(int count, int bytes)
{
	char *text = must_alloc((size_t)count, (size_t)bytes + 8);
	char *at = text;
	int i;

	if (bytes < 2)
		die("--result: at least 2");
	for (i = 0; i < count; i++) {
		at += sprintf(at, "%c\"\\\"", i == 0 ? '{' : ',');
		memset(at, 'x', (size_t)bytes - 2);
		at += bytes - 2;
		at += sprintf(at, "\\\"\"");
	}
	*at++ = '}';
	*at = '\0';
	return text;
}

static int prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult *res = PQprepare(conn, name, sql, 0, NULL);
	int params;

	must_be(conn, res, PGRES_COMMAND_OK);
	PQclear(res);
	res = PQdescribePrepared(conn, name);
	must_be(conn, res, PGRES_COMMAND_OK);
	params = PQnparams(res);
	PQclear(res);
	return params;
}

static void must_send(struct drain *d, int sent)
{
	if (sent != 1)
		die("cannot send: %s", PQerrorMessage(d->conn));
}

static void send_complete(struct drain *d)
{
	char *results = d->results;
	const char *values[2] = { d->ids.bytes, NULL };
	int lengths[2] = { d->ids.len, 0 };
	int formats[2] = { 1, 0 };

	if (d->complete_params == 2) {
		/* A last batch may be short. */
		if (d->ids.count < d->options->batch)
			results = make_results(d->ids.count, d->options->result);
		values[1] = results;
	}
	must_send(d, PQsendQueryPrepared(d->conn, "complete", d->complete_params, values, lengths, formats, 1));
	if (results != d->results)
		free(results);
}

static void send_claim(struct drain *d)
{
	uint32_t limit = htobe32((uint32_t)d->options->batch);
	uint64_t last = htobe64((uint64_t)d->last_id);
	const char *values[2] = { (char *)&limit, (char *)&last };
	int lengths[2] = { sizeof limit, sizeof last };
	int formats[2] = { 1, 1 };

	must_send(d, PQsendQueryPrepared(d->conn, "claim", d->claim_params, values, lengths, formats, 1));
}

/* One transaction: complete what was read (if anything), claim the next. */
static void send_next(struct drain *d, bool completes)
{
	if (completes) {
		send_complete(d);
		if (d->options->apart)
			must_send(d, PQpipelineSync(d->conn));
	}
	if (!d->dry)
		send_claim(d);
	if (!d->dry || !(completes && d->options->apart))
		must_send(d, PQpipelineSync(d->conn));
	d->completes[(d->first + d->under_way++) % AHEAD_MAX] = completes;
}

/* The result of one statement, and the NULL behind it. */
static PGresult *must_read(struct drain *d, ExecStatusType status)
{
	PGresult *res = PQgetResult(d->conn);

	if (res == NULL)
		die("a result is missing: %s", PQerrorMessage(d->conn));
	must_be(d->conn, res, status);
	if (status != PGRES_PIPELINE_SYNC && PQgetResult(d->conn) != NULL)
		die("a result too many: %s", PQerrorMessage(d->conn));
	return res;
}

static void read_sync(struct drain *d)
{
	PQclear(must_read(d, PGRES_PIPELINE_SYNC));
}

static void read_complete(struct drain *d)
{
	PGresult *res = must_read(d, PGRES_COMMAND_OK);

	d->lane->jobs += strtol(PQcmdTuples(res), NULL, 10);
	if (d->lane->marks < MARKS_MAX) {
		d->lane->mark[d->lane->marks].at = now_us();
		d->lane->mark[d->lane->marks++].jobs = (int)strtol(PQcmdTuples(res), NULL, 10);
	}
	PQclear(res);
}

static void read_claim(struct drain *d)
{
	PGresult *res = must_read(d, PGRES_TUPLES_OK);
	int rows = PQntuples(res), last = PQnfields(res) - 1, i;

	ids_begin(&d->ids, rows);
	for (i = 0; i < rows; i++) {
		const char *id = PQgetvalue(res, i, 0);
		uint64_t number;

		memcpy(&number, id, 8);
		if ((int64_t)be64toh(number) > d->last_id)
			d->last_id = (int64_t)be64toh(number);
		ids_add(&d->ids, id);
		d->payload_bytes += (unsigned char)*PQgetvalue(res, i, last);
	}
	PQclear(res);
}

/* The oldest transaction under way; what it claimed goes into d->ids. */
static void read_next(struct drain *d, bool claims)
{
	bool completes = d->completes[d->first];

	d->first = (d->first + 1) % AHEAD_MAX;
	d->under_way--;
	d->ids.count = 0;
	if (completes) {
		read_complete(d);
		if (d->options->apart)
			read_sync(d);
	}
	if (claims)
		read_claim(d);
	if (claims || !(completes && d->options->apart))
		read_sync(d);
}

/* Claims that were under way when the first found nothing are still read: they may have found some. */
static void drain_all(struct drain *d)
{
	bool claims[AHEAD_MAX] = { false };
	int i;

	for (i = 0; i < d->options->ahead; i++) {
		claims[(d->first + d->under_way) % AHEAD_MAX] = true;
		send_next(d, false);
	}
	while (d->under_way > 0) {
		read_next(d, claims[d->first]);
		if (d->ids.count == 0) {
			d->dry = true;
			continue;
		}
		claims[(d->first + d->under_way) % AHEAD_MAX] = !d->dry;
		send_next(d, true);
	}
}

/* A process each: connect and prepare, wait for the others, drain. */
static void run_lane(const struct options *options, struct lane *lane, int go)
{
	struct drain d = { .options = options, .lane = lane };
	char byte;

	d.conn = must_connect(options->url);
	must_exec(d.conn, "SET plan_cache_mode = force_generic_plan");	/* as the worker does: no planning */
	d.claim_params = prepare(d.conn, "claim", layout_must_find(&options->layout, "claim"));
	d.complete_params = prepare(d.conn, "complete", layout_must_find(&options->layout, "complete"));
	d.ids.bytes = must_alloc((size_t)options->batch + 2, 12);
	if (d.complete_params == 2)
		d.results = make_results(options->batch, options->result);
	if (PQenterPipelineMode(d.conn) != 1)
		die("no pipeline mode");
	if (read(go, &byte, 1) < 0)
		die("cannot wait");
	lane->begin = now_us();
	drain_all(&d);
	lane->end = now_us();
	PQfinish(d.conn);
	free(d.ids.bytes);
	free(d.results);
}

/* Jobs a second over the tenth of the batches at one end of each connection's run, summed. */
static double rate_of_tenth(const struct lane *lane, int count, bool at_end)
{
	double rate = 0;
	int i, k;

	for (i = 0; i < count; i++) {
		int tenth = lane[i].marks / 10, from = at_end ? lane[i].marks - tenth : 0;
		double begin, jobs = 0;

		if (tenth == 0)
			continue;
		begin = from > 0 ? lane[i].mark[from - 1].at : lane[i].begin;
		for (k = from; k < from + tenth; k++)
			jobs += lane[i].mark[k].jobs;
		rate += jobs / ((lane[i].mark[from + tenth - 1].at - begin) / 1e6);
	}
	return rate;
}

static void start_lanes(const struct options *options, struct lane *lanes)
{
	int go[2], i, status;

	if (pipe(go) != 0)
		die("no pipe");
	for (i = 0; i < options->connections; i++) {
		if (fork() != 0)
			continue;
		(void)close(go[1]);
		run_lane(options, &lanes[i], go[0]);
		_exit(0);
	}
	(void)usleep(200000);	/* they connect; who is late is only measured less */
	(void)close(go[1]);
	(void)close(go[0]);
	for (i = 0; i < options->connections; i++)
		if (wait(&status) < 0 || status != 0)
			exit(1);
}

static void drain(const struct options *options)
{
	size_t size = (size_t)options->connections * sizeof(struct lane);
	struct lane *lanes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *size_sql = layout_must_find(&options->layout, "size");
	PGconn *conn = must_connect(options->url);
	const char *wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')";
	double wal_before = must_ask(conn, wal, NULL), size_before = must_ask(conn, size_sql, NULL);
	double begin = 0, end = 0, jobs = 0, wal_bytes;
	int i;

	if (lanes == MAP_FAILED)
		die("out of memory");
	start_lanes(options, lanes);
	wal_bytes = must_ask(conn, wal, NULL) - wal_before;
	for (i = 0; i < options->connections; i++) {
		jobs += (double)lanes[i].jobs;
		begin = i == 0 || lanes[i].begin < begin ? lanes[i].begin : begin;
		end = lanes[i].end > end ? lanes[i].end : end;
	}
	if (jobs == 0)
		die("nothing was drained");
	printf("%.0f %.1f %.1f %.1f %.1f %.1f\n", jobs, jobs / ((end - begin) / 1e6),
	       rate_of_tenth(lanes, options->connections, false), rate_of_tenth(lanes, options->connections, true),
	       wal_bytes / jobs, (must_ask(conn, size_sql, NULL) - size_before) / jobs);
	PQfinish(conn);
	(void)munmap(lanes, size);
}

static void fill(const struct options *options, const char *jobs)
{
	PGconn *conn = must_connect(options->url);

	(void)must_ask(conn, layout_must_find(&options->layout, "fill"), jobs);
	must_exec(conn, "VACUUM ANALYZE");
	PQfinish(conn);
}

static void make(const struct options *options)
{
	PGconn *conn = must_connect(options->url);

	must_exec(conn, layout_must_find(&options->layout, "make"));
	PQfinish(conn);
}

static void read_option(struct options *options, const char *name, const char *value)
{
	int number = must_number(value ? value : "", name);

	if (strcmp(name, "--batch") == 0 && number > 0)
		options->batch = number;
	else if (strcmp(name, "--connections") == 0 && number > 0)
		options->connections = number;
	else if (strcmp(name, "--ahead") == 0 && number > 0 && number <= AHEAD_MAX)
		options->ahead = number;
	else if (strcmp(name, "--result") == 0)
		options->result = number;
	else
		die("bad option %s %d", name, number);
}

int main(int argc, char **argv)
{
	struct options options = { .batch = 500, .connections = 1, .ahead = 2, .result = 100 };
	int i;

	if (argc < 4)
		die("floor make|fill|drain URL LAYOUT [JOBS | OPTIONS]");
	options.url = argv[2];
	layout_read(&options.layout, argv[3]);
	if (strcmp(argv[1], "make") == 0) {
		make(&options);
	} else if (strcmp(argv[1], "fill") == 0 && argc == 5) {
		fill(&options, argv[4]);
	} else if (strcmp(argv[1], "drain") == 0) {
		for (i = 4; i < argc; i++) {
			if (strcmp(argv[i], "--apart") == 0)
				options.apart = true;
			else
				read_option(&options, argv[i], argv[i + 1]), i++;
		}
		drain(&options);
	} else {
		die("no such command: %s", argv[1]);
	}
	layout_free(&options.layout);
	return 0;
}
