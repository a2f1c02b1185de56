/*
 * mapping.h - one queue's table: names, types and states, checked against the
 * database, and the statements made from them.
 *
 * A mapping is resolved once, at start. From then on nothing in the program
 * asks which kind of table it is: both kinds answer to the same statements
 * (sql/queue_own.sql and sql/queue_mapped.sql), with the same parameters and
 * result columns.
 */
#ifndef MAPPING_H
#define MAPPING_H

#include <stdbool.h>
#include "buf.h"
#include "error.h"
#include "pg.h"
#include "settings.h"

struct mapping {
	const struct queue_settings *q;	/* borrowed */
	bool own;			/* Unstuck's own table */
	bool tracked;			/* schema unstuck is there: claims, liveness, ledger */
	char *source;			/* "unstuck.jobs", or the table as schema.table: the key of unstuck.claims */
	char *queue;			/* its name; ad hoc: the source */

	/* of a mapped table; bare names, as the catalog has them */
	char *schema, *table, *id, *status, *updated_at /* NULL: none */, *result /* NULL: none */;
	char *id_type, *status_type, *updated_at_type, *result_type;	/* format_type(), NULL with the column */
	unsigned id_type_oid;
	bool partitioned;		/* or with tables that inherit: ctid is no place in it */
	bool updated_at_zoned;		/* timestamptz */
	char **payload, **show;		/* bare names; NULL-terminated */
};

/* Pure: fill names from the settings, no database. Own queues need nothing more. */
int mapping_init(struct mapping *m, const struct queue_settings *q, struct error *err);
void mapping_release(struct mapping *m);

/*
 * Look everything up in the catalog: table (ordinary or partitioned), columns,
 * their types, a unique single-column key. The first thing that cannot work is
 * the error, with its remedy. tracked is set from session->has_schema.
 */
int mapping_resolve(struct mapping *m, struct session *session, struct error *err);

enum statement {
	/* the worker's. $W = worker uuid. "ids" are keys as text[]. */
	STMT_CLAIM,		/* $1 int limit, at most CLAIM_MAX; $2 W; $3 mark, or NULL: from the start -> id, claim_id, attempt, failures,
				   payload, batch (NULL: in none), mark (where this claim ended, if the order of the
				   queue has such places), run_order (ids as an array; NULL: as the rows come): these
				   three stand in one of the rows; with COMPLETE_PLACED row_place, claim_place */
	STMT_CLAIM_NEW,		/* the same of rows that nobody has claimed before, else an error (23505); at less cost. In the place of
				   claim_place stands claim_places: those of all rows in their order, as an array in one of them. mapping_has() */
	STMT_BEFORE_CLAIM,	/* -> nothing of interest; goes before a claim in its transaction. mapping_has() */
	STMT_COMPLETE,		/* $1 ids, $2 bigint[] claim_ids, $3 text[] results (JSON), $4 W -> id of each stored */
	STMT_COMPLETE_NULL,	/* $1 ids, $2 claim_ids, $3 W: the same where all results are null. mapping_has() */
	STMT_COMPLETE_ALL,	/* the same, but an error (22012) unless every row was stored: before on_success */
	STMT_COMPLETE_PLACED,	/* $1 to $4, $5 tid[] row_places, $6 tid[] claim_places: COMPLETE_ALL of rows that lie where the claim
				   has left them, an error (22012) when one does not. $3 NULL where only on_success
				   gets the results. -> nothing of interest. mapping_has() */
	STMT_FAIL,		/* $1 ids, $2 claim_ids, $3 W, $4 text[] kinds (retry fail later), $5 text[] errors,
				   $6 float8[] delays s, $7 text[] reasons, $8 bytea[] raws (both NULL: none)
				   -> id, status of each stored; raws go to late_results in the same statement */
	STMT_LATE,		/* $1 ids, $2 claim_ids, $3 W, $4 text[] reasons, $5 bytea[] raws -> nothing. Idempotent */
	STMT_FORGET,		/* $1 W, $2 bigint[] batches all of whose jobs are settled -> nothing */
	STMT_RELEASE,		/* $1 ids, $2 claim_ids, $3 W, $4 bool[] started: -> id. Not started: attempts - 1 */
	STMT_RELEASE_ALL,	/* $1 W: whatever it still holds in this queue, known or not -> id, claim_id */
	STMT_CLASSIFY,		/* $1 ids, $2 claim_ids, $3 W -> id, verdict (already mine reset fenced failed cancelled missing) */
	STMT_ADOPTABLE,		/* $1 bigint behind this late result, $2 int limit -> late (its id), id, claim_id, raw (NULL without
				   on_success) of those that may be adopted unasked, in the order of late */
	STMT_ADOPT,		/* $1 bigint late, $2 bool by hand -> id, result (the JSON that was stored); no row: it was not */
	STMT_ADOPT_ALL,		/* the same, but an error (22012) in place of no row: before on_success. mapping_has() */
	STMT_SPOIL,		/* $1 bigint late: adopting it failed for its data -> nothing. It is not tried unasked again */
	STMT_STATUS,		/* $1 id -> status (of ours; NULL: another one), stored (as the row has it) */
	STMT_HELD,		/* $1 W -> id, claim_id of all it holds PROCESSING in this queue (reconcile) */
	/* recover's. */
	STMT_STUCK,		/* $1 float8 timeout s, $2 bool ignore liveness, $3 bool list those with a live owner too,
				   $4 int limit or NULL, $5 int offset, $6 int max_recoveries
				   -> id, token, since (RFC 3339, UTC), age_s, worker, reason (worker_lost
				   worker_suspect timeout forced alive), action (reset fail none), show (json
				   object), observed (what was seen, in words); oldest first */
	STMT_RESET,		/* $1 ids, $2 text[] tokens, $3 float8 timeout, $4 bool ignore liveness, $5 int max_recoveries
				   -> id, action (reset fail), reason of each row that was reset. Locked rows, and rows
				   whose token or reason no longer holds, are skipped */
	STMT_RESET_FREE,	/* the same for rows that nobody has locked, at half the cost; others are not waited for (an error, 55P03, at
				   worst). Its commit does not wait for the disk. mapping_has() */
	STMT_PROCESSING,	/* -> count of PROCESSING rows */
	STMT_AGELESS,		/* -> count of PROCESSING rows of no known worker whose age is not known either: never stuck */
	STATEMENTS
};

/*
 * What `unstuck-worker check` tells about one queue's table: each finding with its
 * remedy. Changes nothing; resolve first.
 */
enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_ERROR };
struct finding {
	enum finding_level level;
	char *text;		/* one line: "what: remedy" */
	char *what, *remedy;	/* its parts; no remedy: NULL, or told with what */
};
struct findings {
	struct finding *v;
	size_t len;
};
#define FINDINGS_INIT { NULL, 0 }
void findings_add(struct findings *f, enum finding_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* What to do about the finding that was added last: SQL or settings as they can be pasted. */
void findings_remedy(struct findings *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
void findings_release(struct findings *f);
/* -1 only when the database could not be asked. */
int mapping_check(const struct mapping *m, struct session *session, struct findings *out, struct error *err);
/* The part of it that recover tells: a large table without an index that finds its PROCESSING rows. */
int mapping_check_recover(const struct mapping *m, struct session *session, struct findings *out, struct error *err);

#define CLAIM_MAX 500	/* more are not claimed at a time: a row of unstuck.batches has to hold them */

bool mapping_has(const struct mapping *m, enum statement s);	/* else there is nothing for it to do here */
/* The SQL of a statement, filled (caller frees). NULL and err when the mapping cannot have it. */
MUST_CHECK char *mapping_statement(const struct mapping *m, enum statement s, struct error *err);
/* Any section of sql/queue_own.sql or sql/queue_mapped.sql, filled: what is no statement of the protocol. */
MUST_CHECK char *mapping_section(const struct mapping *m, const char *section, struct error *err);
const char *statement_name(enum statement s);	/* "claim": its "-- name:" in sql/ */

#endif
