/*
 * child.c - what a process of Unstuck's costs beside the barest one, in turns of one run.
 *
 *   child COUNT CONCURRENCY PROGRAM [ARGS]
 *
 * worker/child.c, with three pipes, a group, an end that is judged, against posix_spawn and waitpid. Prints for
 * each: how many a second, and for each process the microseconds of processor time of the parent and of its own;
 * then the ratio of the rates, and what ours costs more.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "child.h"
#include "must.h"

#define ROUNDS 10

struct figures {
	double us;	/* from the first start to the last end */
	double cpu[2];	/* of the parent, of the processes; microseconds */
};

struct load {
	struct children *all;
	struct event_base *base;
	char **argv;
	int left, running, concurrency;
};

static const char input[] = "{\"n\": 1}";

/* ---- ours ---- */

static void load_fill(struct load *l);

static void on_over(void *arg, const struct child_end *end)
{
	struct load *l = arg;

	if (!WIFEXITED(end->status))
		die("%s: status %#x", l->argv[0], (unsigned)end->status);
	l->running--;
	load_fill(l);
	if (l->running == 0)
		(void)event_base_loopbreak(l->base);
}

static void on_failed(void *arg, const struct error *why)
{
	(void)arg;
	die("%s", why->text);
}

static void load_fill(struct load *l)
{
	static const struct child_events events = { .over = on_over, .failed = on_failed };
	const struct child_spec spec = {
		.path = l->argv[0], .argv = l->argv, .envp = environ, .input = input, .input_len = sizeof input - 1,
	};
	struct error err = ERROR_INIT;

	for (; l->left > 0 && l->running < l->concurrency; l->left--, l->running++)
		if (child_start(l->all, &spec, &events, l, &err) == NULL)
			die("%s", err.text);
}

static void run_ours(int count, int concurrency, char **argv)
{
	struct load l = { .base = event_base_new(), .argv = argv, .left = count, .concurrency = concurrency };
	struct error err = ERROR_INIT;

	l.all = children_new(l.base, &err);
	if (l.all == NULL)
		die("%s", err.text);
	load_fill(&l);
	(void)event_base_dispatch(l.base);
}

/* ---- the floor ---- */

static void run_floor(int count, int concurrency, char **argv)
{
	int started = 0, running = 0, error;
	pid_t pid;

	while (started < count || running > 0) {
		if (started < count && running < concurrency) {
			error = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
			if (error != 0)
				die("%s: %s", argv[0], strerror(error));
			started++;
			running++;
		} else if (waitpid(-1, &pid, 0) > 0) {
			running--;
		}
	}
}

/* ---- in turns, each in a process of its own ---- */

static double cpu_us(int who)
{
	struct rusage u;

	(void)getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void add_run(struct figures *sum, void (*run)(int count, int concurrency, char **argv), int count, int concurrency,
                    char **argv)
{
	struct figures f = { .us = now_us() };
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0)
		die("%s", strerror(errno));
	if (pid == 0) {
		run(count, concurrency, argv);
		f = (struct figures){ .us = now_us() - f.us, .cpu = { cpu_us(RUSAGE_SELF), cpu_us(RUSAGE_CHILDREN) } };
		_exit(write(fds[1], &f, sizeof f) == sizeof f ? 0 : 1);
	}
	(void)close(fds[1]);
	if (read(fds[0], &f, sizeof f) != sizeof f)
		die("a round failed");
	(void)close(fds[0]);
	(void)waitpid(pid, NULL, 0);
	sum->us += f.us;
	for (int i = 0; i < 2; i++)
		sum->cpu[i] += f.cpu[i];
}

static void print_figures(const char *name, const struct figures *f, double n)
{
	printf("%s  %8.1f /s  %6.1f us  %6.1f us\n", name, n / (f->us / 1e6), f->cpu[0] / n, f->cpu[1] / n);
}

int main(int argc, char **argv)
{
	struct figures ours = { 0 }, floor = { 0 };
	int count, concurrency, part;
	double n;

	if (argc < 4)
		die("child COUNT CONCURRENCY PROGRAM [ARGS]");
	count = must_number(argv[1], "COUNT");
	concurrency = must_number(argv[2], "CONCURRENCY");
	part = count < ROUNDS ? 1 : count / ROUNDS;
	for (int i = 0; i < ROUNDS; i++) {
		add_run(i % 2 == 0 ? &ours : &floor, i % 2 == 0 ? run_ours : run_floor, part, concurrency, argv + 3);
		add_run(i % 2 == 0 ? &floor : &ours, i % 2 == 0 ? run_floor : run_ours, part, concurrency, argv + 3);
	}
	n = (double)part * ROUNDS;
	print_figures("child", &ours, n);
	print_figures("floor", &floor, n);
	printf("ratio  %8.2f     %+6.1f us  %+6.1f us\n", floor.us / ours.us, (ours.cpu[0] - floor.cpu[0]) / n,
	       (ours.cpu[1] - floor.cpu[1]) / n);
	return 0;
}
