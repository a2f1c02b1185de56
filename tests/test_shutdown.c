/*
 * test_shutdown.c - the contract of the shutdown coordinator: a worker of three parts whose answers
 * the test decides, and a clock that it moves.
 */
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "leftovers.h"
#include "shutdown.h"

enum { FIRST, SECOND, THIRD, PARTS };

struct worker {			/* what the coordinator sees only by name */
	struct shutdown shutdown;
	struct { enum part_state answer; usec_t until; unsigned asked, forced; } parts[PARTS];
	char story[200];	/* in the order it happened: "ask1 look1 force1 ask2 ..." */
};

static void note(struct worker *w, const char *what, int part)
{
	size_t len = strlen(w->story);

	snprintf(w->story + len, sizeof w->story - len, "%s%s%d", len ? " " : "", what, part + 1);
}

/* The same four functions for each part. */
#define PART_FUNCTIONS(n) \
	static void ask##n(struct worker *w) { w->parts[n].asked++; note(w, "ask", n); } \
	static enum part_state look##n(struct worker *w) { note(w, "look", n); return w->parts[n].answer; } \
	static void force##n(struct worker *w) { w->parts[n].forced++; note(w, "force", n); } \
	static usec_t until##n(const struct worker *w) { return w->parts[n].until; }
PART_FUNCTIONS(0)
PART_FUNCTIONS(1)
PART_FUNCTIONS(2)

static const struct part parts[PARTS] = {
	{ "first",  ask0, look0, force0, until0 },
	{ "second", ask1, look1, force1, until1 },
	{ "third",  ask2, look2, force2, until2 },
};

static struct worker w;

static void begin(enum part_state a, enum part_state b, enum part_state c)
{
	w = (struct worker){ .parts = { { .answer = a, .until = 100 }, { .answer = b, .until = 200 },
	                                { .answer = c, .until = 300 } } };
	shutdown_init(&w.shutdown, parts, PARTS);
}

static void must_tell(const char *story)
{
	ck_assert_str_eq(w.story, story);
	w.story[0] = '\0';
}

static void must_report(const char *report)
{
	char text[200] = "";

	for (size_t i = 0; i < PARTS; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s=%s/%d", i ? " " : "", parts[i].name,
		         part_state_name(w.shutdown.report[i].state), (int)w.shutdown.report[i].took);
	ck_assert_str_eq(text, report);
	ck_assert(shutdown_is_over(&w.shutdown));
}

START_TEST(nothing_happens_before_it_is_asked_for)
{
	begin(PART_COMPLETED, PART_COMPLETED, PART_COMPLETED);
	ck_assert(shutdown_advance(&w.shutdown, &w, 1000) == USEC_NEVER);
	ck_assert(!shutdown_is_over(&w.shutdown));
	must_tell("");
}
END_TEST

START_TEST(all_parts_done_leave_in_one_go_and_in_order)
{
	begin(PART_COMPLETED, PART_COMPLETED, PART_COMPLETED);
	shutdown_begin(&w.shutdown, &w, "signal.term", 10);
	must_tell("ask1");
	ck_assert(shutdown_advance(&w.shutdown, &w, 10) == USEC_NEVER);
	must_tell("look1 ask2 look2 ask3 look3");
	must_report("first=completed/0 second=completed/0 third=completed/0");
	ck_assert_str_eq(w.shutdown.reason, "signal.term");
}
END_TEST

START_TEST(a_part_is_waited_for_and_the_next_is_not_asked_before)
{
	begin(PART_COMPLETED, PART_WAITING, PART_COMPLETED);
	shutdown_begin(&w.shutdown, &w, "drained", 10);
	ck_assert_uint_eq(shutdown_advance(&w.shutdown, &w, 20), 200);
	ck_assert_uint_eq(shutdown_advance(&w.shutdown, &w, 199), 200);
	must_tell("ask1 look1 ask2 look2 look2");
	w.parts[SECOND].answer = PART_COMPLETED;
	shutdown_advance(&w.shutdown, &w, 199);
	must_tell("look2 ask3 look3");
	must_report("first=completed/10 second=completed/179 third=completed/0");
}
END_TEST

START_TEST(a_part_out_of_time_is_forced_and_never_holds_up_the_next)
{
	begin(PART_WAITING, PART_COMPLETED, PART_WAITING);
	shutdown_begin(&w.shutdown, &w, "signal.int", 10);
	shutdown_advance(&w.shutdown, &w, 100);
	must_tell("ask1 look1 force1 ask2 look2 ask3 look3");
	ck_assert(!shutdown_is_over(&w.shutdown));
	shutdown_advance(&w.shutdown, &w, 305);
	must_tell("look3 force3");
	must_report("first=forced/90 second=completed/0 third=forced/205");
}
END_TEST

START_TEST(a_part_that_returns_an_error_has_failed_and_the_next_is_asked)
{
	begin(PART_FAILED, PART_COMPLETED, PART_FAILED);
	shutdown_begin(&w.shutdown, &w, "failed.start", 10);
	shutdown_advance(&w.shutdown, &w, 11);
	must_tell("ask1 look1 ask2 look2 ask3 look3");	/* forced is none of them */
	must_report("first=failed/1 second=completed/0 third=failed/0");
}
END_TEST

START_TEST(a_part_that_says_forced_itself_is_reported_so)
{
	begin(PART_FORCED, PART_COMPLETED, PART_COMPLETED);
	shutdown_begin(&w.shutdown, &w, "signal.term", 10);
	shutdown_advance(&w.shutdown, &w, 10);
	ck_assert_uint_eq(w.parts[FIRST].forced, 0);
	must_report("first=forced/0 second=completed/0 third=completed/0");
}
END_TEST

START_TEST(where_the_deadline_is_past_already_each_part_is_still_asked_and_looked_at)
{
	begin(PART_WAITING, PART_COMPLETED, PART_WAITING);
	shutdown_begin(&w.shutdown, &w, "signal.term", 1000);
	ck_assert(shutdown_advance(&w.shutdown, &w, 1000) == USEC_NEVER);
	must_tell("ask1 look1 force1 ask2 look2 ask3 look3 force3");
	must_report("first=forced/0 second=completed/0 third=forced/0");
}
END_TEST

START_TEST(a_deadline_that_moves_closer_counts)
{
	begin(PART_WAITING, PART_COMPLETED, PART_COMPLETED);
	shutdown_begin(&w.shutdown, &w, "signal.term", 10);
	ck_assert_uint_eq(shutdown_advance(&w.shutdown, &w, 20), 100);
	w.parts[FIRST].until = 30;	/* a second signal */
	ck_assert_uint_eq(shutdown_advance(&w.shutdown, &w, 25), 30);
	shutdown_advance(&w.shutdown, &w, 30);
	must_report("first=forced/20 second=completed/0 third=completed/0");
}
END_TEST

START_TEST(it_begins_once_and_the_first_reason_stays)
{
	begin(PART_WAITING, PART_COMPLETED, PART_COMPLETED);
	shutdown_begin(&w.shutdown, &w, "signal.term", 10);
	shutdown_begin(&w.shutdown, &w, "drained", 50);
	must_tell("ask1");
	ck_assert_str_eq(w.shutdown.reason, "signal.term");
	ck_assert_uint_eq(w.shutdown.begun_at, 10);
	w.parts[FIRST].answer = PART_COMPLETED;
	shutdown_advance(&w.shutdown, &w, 60);
	shutdown_advance(&w.shutdown, &w, 70);	/* and ends once */
	must_tell("look1 ask2 look2 ask3 look3");
	must_report("first=completed/50 second=completed/0 third=completed/0");
}
END_TEST

START_TEST(a_part_needs_neither_a_request_nor_a_forced_end)
{
	static const struct part bare[] = { { "bare", NULL, look0, NULL, until0 } };

	begin(PART_WAITING, PART_COMPLETED, PART_COMPLETED);
	shutdown_init(&w.shutdown, bare, 1);
	shutdown_begin(&w.shutdown, &w, "signal.term", 10);
	shutdown_advance(&w.shutdown, &w, 100);
	ck_assert(shutdown_is_over(&w.shutdown));
	ck_assert(w.shutdown.report[0].state == PART_FORCED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shutdown");
	TCase *tc = unit_case(s, "contract");

	tcase_add_test(tc, nothing_happens_before_it_is_asked_for);
	tcase_add_test(tc, all_parts_done_leave_in_one_go_and_in_order);
	tcase_add_test(tc, a_part_is_waited_for_and_the_next_is_not_asked_before);
	tcase_add_test(tc, a_part_out_of_time_is_forced_and_never_holds_up_the_next);
	tcase_add_test(tc, a_part_that_returns_an_error_has_failed_and_the_next_is_asked);
	tcase_add_test(tc, a_part_that_says_forced_itself_is_reported_so);
	tcase_add_test(tc, where_the_deadline_is_past_already_each_part_is_still_asked_and_looked_at);
	tcase_add_test(tc, a_deadline_that_moves_closer_counts);
	tcase_add_test(tc, it_begins_once_and_the_first_reason_stays);
	tcase_add_test(tc, a_part_needs_neither_a_request_nor_a_forced_end);
	return check_main(s);
}
