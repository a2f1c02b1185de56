/*
 * keeper.c - the process that keeps the private server of a test program.
 *
 * A test sends an order (one message) and waits for the reply that carries its
 * number: a test that was ended in between leaves a reply that nobody wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "files.h"
#include "keeper.h"
#include "leftovers.h"
#include "scene.h"

#define ROOM ((uint64_t)3 << 30)	/* two programs at a time, a server each */

enum { LAST_ORDER = 100, IS_RUNNING = 101 };

struct message {
	int order;
	uint64_t number;
	int done;		/* reply: what was asked is so */
	char text[512];		/* reply: else why not */
};

static char dir[128], host[160];
static int line = -1;		/* to the keeper */
static pid_t keeper = -1, owner = -1;

/* ---- the keeper's side ---- */

static pid_t postmaster = -1;
static volatile sig_atomic_t ended;

static void on_end(int signo)
{
	(void)signo;
	ended = 1;
}

static void notice_death(void)
{
	if (postmaster > 0 && waitpid(postmaster, NULL, WNOHANG) == postmaster)
		postmaster = -1;
}

static bool answers(void)
{
	char conninfo[256];

	snprintf(conninfo, sizeof conninfo, "host='%s' port=5432 user=postgres dbname=postgres", host);
	return PQping(conninfo) == PQPING_OK;
}

static void launch(void)
{
	pid_t parent = getpid();
	sigset_t none;

	postmaster = fork();
	if (postmaster != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", source_path("scripts/pg.sh"), "run", host, "-c", "max_connections=100",
	      "-c", "log_line_prefix=%m [%p] %d ", (char *)NULL);
	_exit(127);
}

/* After a kill the old server's children hold its memory for a moment: then it is tried again. */
static bool start_server(char *why, size_t size)
{
	uint64_t until = story_until(30000);

	while (!ended && story_wait(until)) {
		notice_death();
		if (postmaster < 0)
			launch();
		else if (answers())
			return true;
	}
	snprintf(why, size, "the server did not start; see %s/log (KEEP_TEST_FILES=1 keeps it)", host);
	return false;
}

static bool stop_server(int signo)
{
	uint64_t until = story_until(20000);

	notice_death();
	if (postmaster > 0)
		kill(postmaster, signo);
	for (notice_death(); postmaster > 0; notice_death())
		if (!story_wait(until))
			kill(postmaster, SIGKILL);
	return true;
}

static void obey(struct message *m)
{
	switch (m->order) {
	case SERVER_START:
		m->done = start_server(m->text, sizeof m->text);
		break;
	case SERVER_STOP:
		m->done = stop_server(SIGINT);
		break;
	case SERVER_CRASH:
		m->done = stop_server(SIGQUIT);
		break;
	case SERVER_KILL:
		m->done = stop_server(SIGKILL);
		break;
	case IS_RUNNING:
		notice_death();
		m->done = postmaster > 0;
		break;
	case LAST_ORDER:
		ended = 1;
		break;
	}
}

static _Noreturn void keep(int fd, pid_t parent)
{
	struct message m;
	sigset_t blocked, unblocked;
	struct pollfd input = { .fd = fd, .events = POLLIN };

	setsid();		/* the terminal's keys are not for us */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	sigdelset(&unblocked, SIGTERM);
	signal(SIGINT, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_end }, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		ended = 1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(null, i);

	while (!ended) {
		if (ppoll(&input, 1, NULL, &unblocked) <= 0)
			continue;
		if (recv(fd, &m, sizeof m, 0) != (ssize_t)sizeof m)
			break;
		obey(&m);
		send(fd, &m, sizeof m, MSG_NOSIGNAL);
	}
	ended = 0;		/* so that the waits below wait */
	procs_end_with(dir);	/* orphans of a suite that was killed: their HOME is in dir */
	stop_server(SIGQUIT);
	if (getenv("KEEP_TEST_FILES") == NULL)
		remove_tree(dir);
	_exit(0);
}

/* ---- the tests' side ---- */

static bool ask(int order, char *why, size_t size)
{
	static uint64_t last;
	struct timespec ts;
	struct message m = { .order = order };
	struct pollfd input = { .fd = line, .events = POLLIN };

	/* Greater than any number that an earlier process of this suite used. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	m.number = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	m.number = last = m.number > last ? m.number : last + 1;
	if (send(line, &m, sizeof m, MSG_NOSIGNAL) < 0)
		return false;
	snprintf(why, size, "the keeper of the server does not answer");
	while (poll(&input, 1, 120000) > 0) {
		if (recv(line, &m, sizeof m, 0) != (ssize_t)sizeof m)
			return false;
		if (m.number == last) {
			snprintf(why, size, "%s", m.text);
			return m.done != 0;
		}
	}
	return false;
}

void keeper_order(enum server_order order)
{
	char why[512] = "";

	if (!ask((int)order, why, sizeof why))
		story_fail("%s", why);
}

bool server_running(void)
{
	char why[512];

	return ask(IS_RUNNING, why, sizeof why);
}

pid_t keeper_pid(void)
{
	return keeper;
}

const char *keeper_dir(void)
{
	return dir;
}

const char *server_dir(void)
{
	return host;
}

/* At exit of the process that runs the suite; a test's own process is not it. */
static void keeper_end(void)
{
	struct message m = { .order = LAST_ORDER };

	if (getpid() != owner)
		return;
	if (send(line, &m, sizeof m, MSG_NOSIGNAL) == (ssize_t)sizeof m)
		waitpid(keeper, NULL, 0);
	if (getenv("KEEP_TEST_FILES") != NULL)
		fprintf(stderr, "kept: %s\n", dir);
}

/* In memory where there is room: hundreds of databases are made and dropped. Handlers are run from there too. */
static const char *keeper_place(void)
{
	struct statvfs v;

	if (statvfs("/dev/shm", &v) < 0 || (v.f_flag & (ST_NOEXEC | ST_RDONLY)) != 0 || access("/dev/shm", W_OK) < 0
	    || (uint64_t)v.f_bavail * v.f_frsize < ROOM)
		return "/tmp";
	return "/dev/shm";
}

void keeper_start(void)
{
	int pair[2];

	if (owner == getpid())
		return;
	owner = getpid();
	snprintf(dir, sizeof dir, "%s/unstuck-test.XXXXXX", keeper_place());
	/* 0711: the server's user has to reach its own directory in it. */
	if (mkdtemp(dir) == NULL || chmod(dir, 0711) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		fprintf(stderr, "%s: %s\n", dir, strerror(errno));
		exit(EXIT_FAILURE);
	}
	snprintf(host, sizeof host, "%s/pg", dir);
	fflush(NULL);
	keeper = fork();
	if (keeper == 0) {
		close(pair[0]);
		keep(pair[1], owner);
	}
	close(pair[1]);
	line = pair[0];
	atexit(keeper_end);
}
