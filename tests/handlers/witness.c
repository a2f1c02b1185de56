/*
 * witness.c - a handler that writes down what it did, for a judge who trusts nobody else.
 *
 *	witness LOG [serve]
 *
 * A line is one write() to a file opened with O_APPEND, and is synced before anything follows from it:
 *
 *	S  it has started			F  it has its result, and the nonce in it: "the API has billed"
 *	W  the result is printed		E  it fails as it was told to
 *	K  it kills its worker
 *
 * kind, microseconds of the wall clock, queue, job, claim, pid, pid of the worker, nonce or number of the attempt. From F on no TERM
 * ends it, only KILL does; in serve mode until W. The payload says what to do: "ms" of work, and "mode":
 *
 *	ok; wait: until there is a file open<attempt>; deaf: the same, TERM ignored; fail; never; bad: a result that no database takes; big: one
 *	that is too large; and, at the first attempt only: once: fails; later; crash; hang; kill: its worker
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BIG (100 * 1024)

struct task {
	const char *queue, *id, *claim, *mode;
	int attempt, ms;
};

static int record = -1;
static bool serving;

static void put(char kind, const struct task *t, const char *note)
{
	char line[512];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	int n = snprintf(line, sizeof line, "%c\t%lld\t%s\t%s\t%s\t%d\t%d\t%s\n", kind,
	                 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, t->queue, t->id, t->claim, (int)getpid(),
	                 (int)getppid(), note);
	if (n <= 0 || n >= (int)sizeof line || write(record, line, (size_t)n) != n || fdatasync(record) < 0)
		abort();
}

static void rest(int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

static void hold_terms(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void print_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0)
			exit(99);
		text += n;
		len -= (size_t)n;
	}
}

static bool mode_is(const struct task *t, const char *mode)
{
	return strcmp(t->mode, mode) == 0;
}

/* Billed, and handed over. */
static void succeed(const struct task *t)
{
	static char text[BIG + 1024];
	unsigned char random[8];
	char nonce[32] = "paid-";
	int n = 0;

	hold_terms(true);
	if (getrandom(random, sizeof random, 0) != sizeof random)
		abort();
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(nonce + 5 + 2 * i, 3, "%02x", random[i]);
	put('F', t, nonce);
	if (serving)
		n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"ok\":true,\"result\":", t->id);
	n += snprintf(text + n, sizeof text - (size_t)n, "{\"nonce\":\"%s\",\"more\":\"%s", nonce, mode_is(t, "bad") ? "\\u0000" : "");
	if (mode_is(t, "big")) {
		memset(text + n, 'x', BIG);
		n += BIG;
	}
	n += snprintf(text + n, sizeof text - (size_t)n, serving ? "\"}}\n" : "\"}\n");
	print_all(text, (size_t)n);
	put('W', t, "");
	if (serving)
		hold_terms(false);
}

/* status: of exec; answer: what serve says instead. */
static int refuse(const struct task *t, int status, const char *answer)
{
	char text[256];

	put('E', t, t->mode);
	if (!serving)
		return status;
	int n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"ok\":false,\"error\":\"as told\"%s}\n", t->id, answer);
	print_all(text, (size_t)n);
	return 0;
}

static void wait_for_file(const struct task *t)
{
	char name[32];
	struct stat st;

	snprintf(name, sizeof name, "open%d", t->attempt);
	while (stat(name, &st) < 0)
		rest(5);
}

static int work(const struct task *t)
{
	bool first = t->attempt <= 1;
	char attempt[16];

	if (mode_is(t, "deaf"))
		signal(SIGTERM, SIG_IGN);
	snprintf(attempt, sizeof attempt, "%d", t->attempt);
	put('S', t, attempt);
	rest(t->ms);
	if (mode_is(t, "wait") || mode_is(t, "deaf"))
		wait_for_file(t);
	if (mode_is(t, "fail") || (mode_is(t, "once") && first))
		return refuse(t, 1, "");
	if (mode_is(t, "never") || (mode_is(t, "big") && serving))
		return refuse(t, 65, ",\"retry\":false");
	if (mode_is(t, "later") && first)
		return refuse(t, 75, ",\"delay\":\"20ms\"");
	if (mode_is(t, "crash") && first) {
		put('E', t, t->mode);
		signal(SIGSEGV, SIG_DFL);	/* a sanitizer would have it */
		raise(SIGSEGV);
	}
	if (mode_is(t, "hang") && first) {
		put('E', t, t->mode);
		rest(60000);
	}
	if (mode_is(t, "kill") && first) {
		put('K', t, "");
		kill(getppid(), SIGKILL);
		rest(1000);
	}
	succeed(t);
	return 0;
}

static const char *text_of(const json_t *object, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : otherwise;
}

static const char *variable(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? text : "?";
}

static int do_payload(struct task *t, const json_t *payload)
{
	t->mode = text_of(payload, "mode", "ok");
	t->ms = (int)json_integer_value(json_object_get(payload, "ms"));
	return work(t);
}

static void serve(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		json_t *job = json_loads(line, 0, NULL);
		struct task t = {
			.queue = text_of(job, "queue", "?"), .id = text_of(job, "id", "?"), .claim = text_of(job, "claim_id", "?"),
			.attempt = (int)json_integer_value(json_object_get(job, "attempt")),
		};

		if (do_payload(&t, json_object_get(job, "payload")) != 0)
			exit(1);
		json_decref(job);
	}
	free(line);
}

int main(int argc, char **argv)
{
	struct task t = { .queue = variable("UNSTUCK_QUEUE"), .id = variable("UNSTUCK_JOB_ID"), .claim = variable("UNSTUCK_CLAIM_ID"),
	                  .attempt = atoi(variable("UNSTUCK_ATTEMPT")) };

	if (argc < 2 || (record = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) < 0)
		return 99;
	serving = argc > 2;
	if (serving) {
		serve();
		return 0;
	}
	json_t *payload = json_loadf(stdin, 0, NULL);
	int status = do_payload(&t, payload);

	json_decref(payload);
	return status;
}
