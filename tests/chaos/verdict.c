/*
 * verdict.c - runs the rules of verdict.sql over what was written down, looks into the spool, and tells the figures.
 */
#include "chaos.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#define NONCE "paid-"
#define NONCE_LEN 21

static const char *const fault_names[FAULTS] = {
	[FAULT_KILL] = "kill", [FAULT_STOP] = "stop", [FAULT_TERM] = "term", [FAULT_HURRY] = "term twice", [FAULT_BACKEND] = "session ended",
	[FAULT_CRASH] = "server crash", [FAULT_CUT] = "cut", [FAULT_PAUSE] = "pause", [FAULT_REFUSE] = "refuse", [FAULT_SWALLOW] = "replies swallowed",
	[FAULT_RECOVER] = "recover besides", [FAULT_OUTCOME] = "bad outcome",
};

unsigned chaos_faults(const char *names)
{
	unsigned faults = 0;

	for (int f = 0; f < FAULTS; f++)
		if (names == NULL || *names == '\0' || strstr(names, fault_names[f]) != NULL)
			faults |= 1u << f;
	return faults;
}

/* ---- the spool ---- */

static const char *spooled;	/* VALUES of the nonces in its files */

static int look_into(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	size_t len;

	(void)ftw;
	if (type != FTW_F || st->st_size == 0)
		return 0;
	const char *text = read_file_at(path, &len), *end = text + len;

	for (const char *p = text; (p = memmem(p, (size_t)(end - p), NONCE, strlen(NONCE))) != NULL; p++)
		if (end - p >= NONCE_LEN)
			spooled = story_text("%s, ('spool', '%.*s')", spooled, NONCE_LEN, p);
	return 0;
}

static void look_into_spool(struct chaos *c)
{
	spooled = "(NULL, NULL)";
	nftw(test_path("spool"), look_into, 16, FTW_PHYS);
	must_sql(c->db, "INSERT INTO chaos.kept SELECT v.place, v.nonce FROM (VALUES %s) AS v(place, nonce) WHERE v.nonce IS NOT NULL", spooled);
}

/* ---- rules and figures ---- */

struct verdict {
	struct chaos *c;
	const char *violations;		/* "" */
	const char *figures;
};

static const char *rows_of(struct chaos *c, const char *sql, int *rows)
{
	PGresult *res = PQexec(c->db->conn, sql);
	const char *text = "";

	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		story_fail("%s\nin: %.1500s", PQresultErrorMessage(res), sql);
	*rows = PQntuples(res);
	for (int i = 0; i < *rows && i < 8; i++)
		text = story_text("%s%s%s", text, i ? "\n    " : "", PQgetvalue(res, i, 0));
	PQclear(res);
	return text;
}

static void apply(struct verdict *v, const char *kind, const char *name, const char *sql)
{
	int rows;
	const char *text = rows_of(v->c, sql, &rows);

	if (strcmp(kind, "rule") == 0 && rows > 0)
		v->violations = story_text("%s\n  broken: %s\n    %s%s", v->violations, name, text,
		                           rows > 8 ? story_text("\n    and %d more", rows - 8) : "");
	else if (strcmp(kind, "figure") == 0)
		v->figures = story_text("%s  %-20s %s\n", v->figures, name, text);
}

/* Sections "-- kind: name" and the statements below each. */
static void apply_all(struct verdict *v)
{
	char *text = read_file_at(source_path("tests/chaos/verdict.sql"), NULL), *next;
	char kind[16], name[200];

	for (char *at = strstr(text, "\n-- "); at != NULL; at = next) {
		char *body = strchr(at + 1, '\n');

		next = strstr(at + 1, "\n-- ");
		if (sscanf(at, "\n-- %15[a-z]:%199[^\n]", kind, name) < 1 || strchr(" prepare rule figure", kind[0]) == NULL || body == NULL)
			continue;
		/* Comments within a section belong to it. */
		while (next != NULL && strncmp(next, "\n-- rule:", 9) != 0 && strncmp(next, "\n-- figure:", 11) != 0)
			next = strstr(next + 1, "\n-- ");
		if (next != NULL)
			*next = '\0';
		apply(v, kind, name + (name[0] == ' '), body);
		if (next != NULL)
			*next = '\n';
	}
}

static const char *faults_told(const struct chaos *c)
{
	const char *text = "";
	unsigned sum = 0;

	for (int f = 0; f < FAULTS; f++) {
		sum += c->faults[f];
		if (c->faults[f] != 0)
			text = story_text("%s%s%s %u", text, *text ? ", " : "", fault_names[f], c->faults[f]);
	}
	return story_text("  %-20s %u (%s)\n", "faults", sum, text);
}

void chaos_judge(struct chaos *c)
{
	struct verdict v = { c, "", "" };

	must_sql(c->db, "COPY chaos.said FROM '%s'", c->log);
	look_into_spool(c);
	apply_all(&v);
	if (c->left_processing != 0)
		v.violations = story_text("%s\n  broken: a worker that leaves with 0 leaves nothing PROCESSING: %u rows", v.violations, c->left_processing);
	printf("%s%s  %-20s 0: %u, results in the spool: %u, killed: %u, before they were ready: %u\n  %-20s %u\n", faults_told(c), v.figures, "exits", c->exits_clean,
	       c->exits_held, c->exits_killed, c->exits_early, "left PROCESSING", c->left_processing);
	fflush(stdout);
	/* Handlers may need a moment to be reaped; of the processes only the proxy stays. */
	must_happen(procs_alive() == 1, 10000);
	if (*v.violations != '\0')
		story_fail("the verdict:%s", v.violations);
}
