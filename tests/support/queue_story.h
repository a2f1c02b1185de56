/*
 * queue_story.h - the statements of a queue, run one by one as a worker or
 * recover would: a mapping from a settings text, and its statements by name.
 *
 * The same stories run over every kind of table: kinds[] below. Each has jobs
 * "1", "2" ... whose keys are key_of(kind, n), and a view "seen" of what became
 * of them: id, status, attempts, failures, recoveries, claim_id, worker_id, last_error, result.
 */
#ifndef QUEUE_STORY_H
#define QUEUE_STORY_H

#include "mapping.h"
#include "story.h"

struct kind {
	const char *name;
	const char *ini;	/* its [queue q] section */
	const char *setup;	/* tables and the view; NULL: Unstuck's own table */
	const char *add;	/* adds the jobs of series g, READY */
	const char *key;	/* SQL: the key of number g as text */
};
extern const struct kind kinds[];
extern const int kinds_len;

struct queue_story {
	struct queue_story *next;
	bool borrows;		/* another_session(): all but the session is its original's */
	struct testdb *db;
	const struct kind *kind;
	struct settings set;
	struct session session;
	struct mapping map;
	char *sql[STATEMENTS];	/* NULL where the mapping has none */
};

/* As story_case(); what the stories below made is released after each test. */
TCase *queue_case(Suite *suite, const char *name);

/* The first queue of these settings, resolved on a session of its own. Ends with the test. */
struct queue_story *queue_story(struct testdb *db, const char *ini);
struct queue_story *queue_of_kind(struct testdb *db, const struct kind *kind, int jobs);
struct queue_story *another_session(struct queue_story *q);
/* The error that the settings give. */
const char *queue_refused(struct testdb *db, const char *ini);

const char *key_of(struct queue_story *q, int n);
const char *keys_of(struct queue_story *q, int from, int to);	/* an array of them; downwards when to < from */
const char *seen(struct queue_story *q, int n, const char *columns);

#define PARAMS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })
/* Run a statement; the rows as "a|b" lines, joined by ";" . NULL is "". Fails the test on an error. */
#define ask(q, statement, ...) (story_at(__FILE__, __LINE__), queue_ask(q, statement, PARAMS(__VA_ARGS__), NULL))
/* The same, and the statement has to fail: gives the SQLSTATE. */
#define ask_refused(q, statement, ...) (story_at(__FILE__, __LINE__), queue_ask_refused(q, statement, PARAMS(__VA_ARGS__)))
/* A column of the first row. */
#define ask_column(q, column, statement, ...) \
	(story_at(__FILE__, __LINE__), queue_ask(q, statement, PARAMS(__VA_ARGS__), column))
#define must_answer(text, expected) do { \
		const char *got_ = (text), *expected_ = (expected); \
		story_at(__FILE__, __LINE__); \
		if (strcmp(got_, expected_) != 0) \
			story_fail("%s\n gave \"%s\", not \"%s\"", #text, got_, expected_); \
	} while (0)

const char *queue_ask(struct queue_story *q, enum statement s, const char *const *params, const char *column);
const char *queue_ask_refused(struct queue_story *q, enum statement s, const char *const *params);
extern const char NIL[];	/* SQL null as a parameter */

/* A registered worker, beating now. */
void add_worker(struct testdb *db, const char *worker);
#define W1 "11111111-1111-4111-8111-111111111111"
#define W2 "22222222-2222-4222-8222-222222222222"

/* Claim one job and give its claim_id; fails the test when it is not this one. */
const char *claim_one(struct queue_story *q, int n, const char *worker);

#define array_of(...) text_array(WORDS(__VA_ARGS__))
const char *text_array(const char *const *texts);

/* Run this in so many processes at once, each with its number; each has to return 0. */
void in_processes(int n, int (*run)(struct queue_story *q, int number), struct queue_story *q);

#endif
