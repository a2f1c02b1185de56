/*
 * failpoint.c - see failpoint.h. Outside the test build there is nothing here.
 *
 * Read before main(), so that no program has to know of it. Only what may be called in any thread, and nothing
 * that allocates.
 */
#include "failpoint.h"

#ifdef UNSTUCK_FAILPOINTS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "error.h"

#define PLANS_MAX 16
#define SLEEP_MAX 600000	/* ms */

static void act_abort(unsigned ms)
{
	(void)ms;
	kill(getpid(), SIGKILL);
}

static void act_exit(unsigned ms)
{
	(void)ms;
	_exit(FAILPOINT_EXIT);
}

static void act_error(unsigned ms)
{
	(void)ms;
}

static void act_sleep(unsigned ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static void act_stop(unsigned ms)
{
	(void)ms;
	kill(getpid(), SIGSTOP);
}

static const struct action {
	const char *name;
	void (*act)(unsigned ms);
} actions[] = {
	{ "abort", act_abort }, { "exit", act_exit }, { "error", act_error }, { "sleep", act_sleep }, { "stop", act_stop },
};

static const struct { const char *name; bool can_fail; } points[] = {
#define X(name, can_fail, where) { #name, can_fail },
	FAILPOINTS(X)
#undef X
};

static struct plan {
	enum failpoint point;
	const struct action *action;
	unsigned ms;
	unsigned n;			/* 0: each time */
} plans[PLANS_MAX];
static size_t plans_len;
static atomic_uint hits[FAILPOINTS_LEN];

/* ---- what the environment says ---- */

static _Noreturn void refuse(const char *plan, const char *why)
{
	dprintf(STDERR_FILENO, "UNSTUCK_FAIL=%s: %s\n", plan, why);
	_exit(EXIT_USAGE);
}

static unsigned read_number(const char *plan, const char *text, unsigned long max, const char *why)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || n > max)
		refuse(plan, why);
	return (unsigned)n;
}

/* plan is cut into its words; whole is for who reads the refusal. */
static void read_plan(const char *whole, char *plan)
{
	const char *point = strsep(&plan, ":"), *action = strsep(&plan, ":"), *ms = NULL, *n;
	struct plan p = { .point = 0, .n = 1 };

	while (p.point < FAILPOINTS_LEN && strcmp(points[p.point].name, point) != 0)
		p.point++;
	if (p.point == FAILPOINTS_LEN)
		refuse(whole, "no such point (common/failpoint.h has them all)");
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (action != NULL && strcmp(actions[i].name, action) == 0)
			p.action = &actions[i];
	if (p.action == NULL)
		refuse(whole, "the action is abort, exit, error, sleep:MS or stop");
	if (p.action->act == act_error && !points[p.point].can_fail)
		refuse(whole, "this step cannot report an error");
	if (p.action->act == act_sleep) {
		ms = strsep(&plan, ":");
		p.ms = read_number(whole, ms != NULL ? ms : "", SLEEP_MAX, "sleep:MS, at most ten minutes");
	}
	n = strsep(&plan, ":");
	if (n != NULL)
		p.n = read_number(whole, n, 1000000000, "the last word is how often the step passes until then");
	if (plan != NULL)
		refuse(whole, "point:action[:n]");
	if (plans_len == PLANS_MAX)
		refuse(whole, "too many of them");
	plans[plans_len++] = p;
}

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("UNSTUCK_FAIL");
	char copy[1024], whole[1024], *rest = copy, *plan;

	if (text == NULL || *text == '\0')
		return;
	if (strlen(text) >= sizeof copy)
		refuse("...", "too long");
	strcpy(copy, text);
	while ((plan = strsep(&rest, ",")) != NULL) {
		strcpy(whole, plan);
		read_plan(whole, plan);
	}
}

/* ---- reached ---- */

bool failpoint_hit(enum failpoint p)
{
	bool fails = false;
	unsigned n;

	if (plans_len == 0)
		return false;
	n = atomic_fetch_add(&hits[p], 1) + 1;
	for (size_t i = 0; i < plans_len; i++) {
		if (plans[i].point != p || (plans[i].n != 0 && plans[i].n != n))
			continue;
		plans[i].action->act(plans[i].ms);
		fails = fails || plans[i].action->act == act_error;
	}
	return fails;
}

/* ---- the clock ---- */

int64_t failpoint_clock(int which)
{
	const char *path = getenv("UNSTUCK_CLOCK");
	char text[64] = "";
	long long moved[2] = { 0, 0 };
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof text - 1) > 0)
		sscanf(text, "%lld %lld", &moved[0], &moved[1]); /* NOLINT: a test writes it */
	close(fd);
	return moved[which] * 1000;
}

#else

/* A file of C has something in it. */
typedef enum failpoint failpoint_unused;

#endif
