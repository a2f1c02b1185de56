/*
 * noop.c - a handler that does nothing, as fast as possible.
 *
 *   noop serve [--result BYTES] [--stamp FIFO]    JSON lines until EOF
 *   noop exec  [--result BYTES] [--stamp FIFO]    one job; the payload is not read
 *
 * --stamp writes the time at which each job started (CLOCK_MONOTONIC, microseconds, a
 * double) to FIFO. No JSON parser: the id is the first member, and a string without escapes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
#include "must.h"

#define IN_MAX (1 << 20)	/* the longest line */
#define OUT_MAX (64 * 1024)
#define ANSWER_MAX 4096
#define ID_MARK "{\"id\":\""

static char in[IN_MAX], out[OUT_MAX];
static size_t in_len, out_len;
static char answer_end[ANSWER_MAX];	/* what follows the id */
static size_t answer_end_len;
static int stamp_fd = -1;

static void stamp(double at)
{
	if (stamp_fd != -1 && write(stamp_fd, &at, sizeof at) != sizeof at)
		die("cannot write to the fifo");
}

static void flush_out(void)
{
	size_t done = 0;

	while (done < out_len) {
		ssize_t n = write(STDOUT_FILENO, out + done, out_len - done);

		if (n < 0 && errno != EINTR)
			exit(0);	/* nobody wants to know */
		done += n > 0 ? (size_t)n : 0;
	}
	out_len = 0;
}

static void answer(const char *line, size_t len)
{
	const size_t mark = strlen(ID_MARK);
	const char *end;
	size_t id_len;

	if (len < mark || memcmp(line, ID_MARK, mark) != 0 || (end = memchr(line + mark, '"', len - mark)) == NULL)
		die("no id at the start of the line: %.*s", (int)(len < 200 ? len : 200), line);
	id_len = (size_t)(end - line);
	if (out_len + id_len + answer_end_len > OUT_MAX)
		flush_out();
	if (id_len + answer_end_len > OUT_MAX)
		die("too long an id");
	memcpy(out + out_len, line, id_len);
	memcpy(out + out_len + id_len, answer_end, answer_end_len);
	out_len += id_len + answer_end_len;
}

/* Answers every whole line, keeps the rest. */
static void answer_lines(void)
{
	char *at = in;
	char *end;

	while ((end = memchr(at, '\n', in_len - (size_t)(at - in))) != NULL) {
		stamp(stamp_fd != -1 ? now_us() : 0);
		answer(at, (size_t)(end - at));
		at = end + 1;
	}
	in_len -= (size_t)(at - in);
	memmove(in, at, in_len);
	flush_out();
}

static void serve(void)
{
	ssize_t n;

	while ((n = read(STDIN_FILENO, in + in_len, IN_MAX - in_len)) != 0) {
		if (n < 0 && errno != EINTR)
			die("cannot read");
		in_len += n > 0 ? (size_t)n : 0;
		if (in_len == IN_MAX)
			die("too long a line");
		answer_lines();
	}
}

/* A JSON string of so many bytes in all; nothing for 0. */
static void make_result(char *text, int bytes)
{
	if (bytes < 2 || bytes > ANSWER_MAX - 64) {
		*text = '\0';
		return;
	}
	memset(text, 'x', (size_t)bytes);
	text[0] = text[bytes - 1] = '"';
	text[bytes] = '\0';
}

int main(int argc, char **argv)
{
	double started = now_us();
	char result[ANSWER_MAX] = "";
	int i;

	if (argc < 2)
		die("noop serve|exec [--result BYTES] [--stamp FIFO]");
	for (i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--result") == 0)
			make_result(result, must_number(argv[i + 1], argv[i]));
		else if (strcmp(argv[i], "--stamp") == 0)
			stamp_fd = open(argv[i + 1], O_WRONLY | O_CLOEXEC);
	}
	if (strcmp(argv[1], "serve") == 0) {
		answer_end_len = (size_t)snprintf(answer_end, sizeof answer_end, "\",\"ok\":true%s%s}\n",
		                                  *result ? ",\"result\":" : "", result);
		serve();
		return 0;
	}
	stamp(started);
	return puts(result) < 0;
}
