/*
 * measure.c - run a program and write down what it cost.
 *
 *   measure FILE PROGRAM [ARGS]
 *
 * FILE gets one line: STATUS SECONDS CPU_US CHILDREN_CPU_US PEAK_KB FIRST_KB LAST_KB, where CPU_US is the
 * program's own, without that of its children; PEAK_KB its largest resident size, FIRST_KB what that
 * was after a tenth of a second, LAST_KB the resident size when it was last looked at. TERM is passed on.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "must.h"

#define LOOK_NS 100000000L

static pid_t must_spawn(char **words, const sigset_t *mask)
{
	posix_spawnattr_t attr;
	int error;
	pid_t pid;

	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setsigmask(&attr, mask);
	error = posix_spawnp(&pid, words[0], NULL, &attr, words, environ);
	if (error != 0)
		die("%s: %s", words[0], strerror(error));
	(void)posix_spawnattr_destroy(&attr);
	return pid;
}

/* Until the next look, a child's end, or a signal to pass on. */
static void pause_a_little(pid_t pid, const sigset_t *signals)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	int sig = sigtimedwait(signals, NULL, &pause);

	if (sig == SIGTERM || sig == SIGINT)
		(void)kill(pid, sig);
}

/* "key: N" of /proc/PID/status; 0 when it is not there. */
static long status_number(pid_t pid, const char *key)
{
	char path[64], line[256];
	long value = 0;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			value = strtol(line + strlen(key) + 1, NULL, 10);
	(void)fclose(file);
	return value;
}

/* utime, stime, cutime, cstime are words 14 to 17; the name before may hold anything but ends at the last ')'. */
static void cpu_of(pid_t pid, double *own, double *children)
{
	double tick = 1e6 / (double)sysconf(_SC_CLK_TCK);
	unsigned long times[4] = { 0 };
	char path[64], text[1024] = "";
	const char *at;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	file = fopen(path, "r");
	if (file == NULL || fgets(text, sizeof text, file) == NULL || (at = strrchr(text, ')')) == NULL)
		die("cannot read %s", path);
	(void)fclose(file);
	if (sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &times[0], &times[1], &times[2],
	           &times[3]) != 4)
		die("cannot read %s", path);
	*own = (double)(times[0] + times[1]) * tick;
	*children = (double)(times[2] + times[3]) * tick;
}

static bool is_over(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == pid;
}

int main(int argc, char **argv)
{
	sigset_t signals, before;
	struct rusage usage;
	double begin = now_us(), own = 0, children = 0;
	long peak = 0, first = 0, last = 0, kb;
	int status = 0;
	FILE *file;
	pid_t pid;

	if (argc < 3)
		die("measure FILE PROGRAM [ARGS]");
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	pid = must_spawn(argv + 2, &before);
	while (!is_over(pid)) {
		pause_a_little(pid, &signals);
		if ((kb = status_number(pid, "VmHWM")) > 0)
			peak = kb;
		if ((kb = status_number(pid, "VmRSS")) > 0)
			last = kb;
		if (first == 0)
			first = last;
	}
	cpu_of(pid, &own, &children);
	(void)wait4(pid, &status, 0, &usage);
	if (peak == 0)
		peak = usage.ru_maxrss;	/* over before it was looked at */
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	file = fopen(argv[1], "w");
	if (file == NULL)
		die("%s: %s", argv[1], strerror(errno));
	(void)fprintf(file, "%d %.3f %.0f %.0f %ld %ld %ld\n", status, (now_us() - begin) / 1e6, own, children, peak, first, last);
	(void)fclose(file);
	return status;
}
