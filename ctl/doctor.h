/*
 * doctor.h - what the checks of `unstuckctl doctor` share: asking, and telling what was found.
 *
 * A check looks at one thing, changes nothing, and tells each finding with its remedy. What a check
 * may not see or cannot get in time is a finding too, and the others go on; only a database that has
 * gone ends the examination (ctl->err). The checks are in doctor_*.c by topic, their order and
 * names in doctor.c.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include "ctl.h"
#include "mapping.h"

enum severity { NOTE, WARNING, ERROR };

struct diagnosis {
	enum severity severity;
	const char *check;	/* name of the check, borrowed */
	char *queue;		/* it is about; NULL: no single one */
	char *what, *remedy;	/* one line each */
};

/* A queue that is looked at. */
struct patient {
	const struct queue_settings *set;
	struct mapping map;
	bool resolved;		/* its table is there and may be used */
	bool quick;		/* an index finds its PROCESSING rows, or there are few rows in all */
};

struct doctor {
	struct ctl *ctl;
	const char *check;		/* the one that runs */
	struct patient *patients;
	size_t patients_len;
	const struct patient *patient;	/* the one that is looked at; NULL: none */
	bool pooled;			/* the session may be another one for each transaction */
	char *config;			/* " -c '/etc/unstuck/unstuck.ini'", or "": for commands in remedies */
	char *user;			/* the database's user, quoted for SQL; NULL until connected */
	struct diagnosis *found;
	size_t found_len;
};

/* A finding, and its remedy: SQL, a command or settings as they can be pasted. */
void doctor_tell(struct doctor *d, enum severity severity, const char *fmt, ...) PRINTF_LIKE(3, 4);
void doctor_remedy(struct doctor *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* NULL: told, or the database has gone. */
MUST_CHECK PGresult *doctor_ask(struct doctor *d, const char *sql, int n, const char *const *params);
/* Tell an error that came otherwise: -1 when the database has gone, else 0 and a finding. */
int doctor_take(struct doctor *d, const struct error *err);
/* Rows of severity, what, remedy. param NULL: the statement has none. */
void doctor_tell_rows(struct doctor *d, const char *section, const char *param);
static inline bool doctor_over(const struct doctor *d)
{
	return d->ctl->err.kind != ERR_NONE;
}
char *doctor_word(const char *text);	/* as one word of a shell; caller frees */

/* ---- the checks ---- */
void check_spool(struct doctor *d);		/* doctor_host.c */
void check_disk(struct doctor *d);
void check_server_version(struct doctor *d);	/* doctor_server.c */
void doctor_judge_version(struct doctor *d, int version);	/* as PQserverVersion() has it */
void check_pooler(struct doctor *d);
void check_clock(struct doctor *d);
void check_schema(struct doctor *d);
void check_schema_rights(struct doctor *d);
void check_workers(struct doctor *d);		/* doctor_work.c */
void check_waiting(struct doctor *d);
void check_timeouts(struct doctor *d);
void check_vacuum(struct doctor *d);
/* Of one patient. */
void check_table(struct doctor *d, struct patient *p);	/* doctor_table.c; resolves it */
void check_ids(struct doctor *d, struct patient *p);
void check_stuck(struct doctor *d, struct patient *p);	/* doctor_work.c */
void check_ageless(struct doctor *d, struct patient *p);

#endif
