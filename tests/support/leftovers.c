/*
 * leftovers.c - see leftovers.h.
 *
 * A failed test leaves by _exit(): then the kernel ends the programs (PR_SET_PDEATHSIG), and the process that runs the suite
 * ends what they left.
 */
#include "leftovers.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "scene.h"

/* ---- everybody below us ---- */

/* Parent and state of a process; false when it is gone. */
static bool stat_of(pid_t pid, pid_t *parent, char *state)
{
	char path[64], line[512];
	int got = 0, ppid = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(line, sizeof line, f) != NULL) {
		char *end = strrchr(line, ')');	/* the name before it may hold anything */

		if (end != NULL)
			got = sscanf(end + 1, " %c %d", state, &ppid);
	}
	fclose(f);
	*parent = ppid;
	return got == 2;
}

char pid_state(pid_t pid)
{
	pid_t parent;
	char state;

	return stat_of(pid, &parent, &state) ? state : '\0';
}

bool pid_alive(pid_t pid)
{
	char state = pid_state(pid);

	return state != '\0' && state != 'Z' && state != 'X';
}

/* Of the processes below us one, and what is below that, is not the test's. */
static pid_t spared = -1;

static bool is_below(pid_t pid, pid_t top)
{
	pid_t parent;
	char state;

	for (int depth = 0; depth < 100 && pid > 1 && pid != spared && stat_of(pid, &parent, &state); depth++) {
		if (parent == top)
			return parent != spared;
		pid = parent;
	}
	return false;
}

/* Count the living processes below this one, show each to see() and send it the signal, unless they are 0. */
static size_t everybody(int signo, void (*see)(pid_t pid))
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t n = 0;

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid <= 1 || pid == getpid() || !is_below(pid, getpid()) || !pid_alive(pid))
			continue;
		n++;
		if (see != NULL)
			see(pid);
		if (signo != 0)
			kill(pid, signo);
	}
	if (proc != NULL)
		closedir(proc);
	return n;
}

size_t procs_alive(void)
{
	return everybody(0, NULL);
}

void procs_adopt(pid_t but)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	spared = but;
}

/* Reap what has ended, the spared child aside: its status is its owner's. */
static void reap(void)
{
	siginfo_t info = { 0 };

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0 && info.si_pid != spared) {
		waitpid(info.si_pid, NULL, 0);
		info.si_pid = 0;
	}
}

/* Again and again: a process that was forked just now has not been seen. */
void procs_end(void)
{
	uint64_t until = story_until(10000);

	while (everybody(SIGKILL, NULL) > 0 && story_wait(until))
		reap();
	reap();
}

/* Of a file in /proc/PID, up to the size: how many bytes there were. */
static size_t read_of(pid_t pid, const char *name, char *data, size_t size)
{
	char path[64];
	ssize_t n = -1;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, data, size);
		close(fd);
	}
	return n > 0 ? (size_t)n : 0;
}

void procs_end_with(const char *text)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char data[16384];

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 1 && pid != getpid() && memmem(data, read_of(pid, "environ", data, sizeof data), text, strlen(text)) != NULL)
			kill(pid, SIGKILL);
	}
	if (proc != NULL)
		closedir(proc);
}

/* ---- what a test left ---- */

static const char *people;

static void note(pid_t pid)
{
	char words[200];
	size_t n = read_of(pid, "cmdline", words, sizeof words);

	for (size_t i = 0; i < n; i++)
		if (!isprint((unsigned char)words[i]))
			words[i] = ' ';
	people = story_text("%s\n%d %.*s", people, (int)pid, (int)n, words);
}

void leftovers_no_process(void)
{
	uint64_t until = story_until(5000);

	while (everybody(0, NULL) > 0)
		if (!story_wait(until)) {
			people = "";
			everybody(0, note);
			story_fail("left behind by what has ended:%s", people);
		}
	reap();
}

/* ---- descriptors ---- */

#define MOST 4096

static bool open_before[MOST];

/* Each descriptor of ours but that of the look itself; above MOST it is a tool's (valgrind's). */
static void each_descriptor(void (*see)(int fd))
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < MOST)
			see(fd);
	}
	if (dir != NULL)
		closedir(dir);
}

static void remember(int fd)
{
	open_before[fd] = true;
}

static void must_be_known(int fd)
{
	char path[64], what[200] = "";

	if (open_before[fd])
		return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (readlink(path, what, sizeof what - 1) > 0)
		story_fail("left open: descriptor %d, %s", fd, what);
}

void leftovers_no_descriptor(void)
{
	each_descriptor(must_be_known);
}

void leftovers_begin(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	procs_adopt(spared);
	memset(open_before, 0, sizeof open_before);
	each_descriptor(remember);
}

static void unit_end(void)
{
	leftovers_no_process();
	leftovers_no_descriptor();
	story_forget();
}

TCase *unit_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, leftovers_begin, unit_end);
	suite_add_tcase(suite, tc);
	return tc;
}
