/*
 * top.c - unstuckctl top: a live view, or one look where there is no terminal.
 *
 * A process of its own (the reader) asks the database, so that keys, signals and the age of what is shown do not wait for a
 * server that does not answer. It is asked with a byte and answers with a line of JSON: a document of top_data.h, or
 * {"error": text}.
 *
 * Not here: what is read (top_data.c), how it looks (top_view.c), the terminal (screen.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ctl.h"
#include "screen.h"
#include "top_data.h"
#include "top_view.h"

#define EVERY_LEAST (250 * MSEC)
#define PATIENCE (5 * SEC)	/* an answer that takes longer is told */

/* ---- one look ---- */

static void print_once(struct ctl *ctl, const json_t *document)
{
	struct view view = VIEW_INIT;
	struct buf totals = BUF_INIT;

	if (ctl->cli.common.json) {
		json_dumpf(document, stdout, JSON_REAL_PRECISION(12));
		putchar('\n');
		return;
	}
	view_totals(&totals, document);
	view_fill(&view, document, 0);
	printf("%s\n\n", buf_text(&totals));
	for (size_t i = 0; i < view.len; i++)
		printf("%s\n", view.v[i].text);
	view_release(&view);
	buf_release(&totals);
}

static json_t *look_once(struct ctl *ctl)
{
	struct top_data *data = top_data_open(ctl);
	json_t *document = data != NULL ? top_data_look(data) : NULL;

	top_data_close(data);
	return document;
}

/* ---- the reader ---- */

/* After an error everything begins anew: the server may be another one, with other tables. */
static json_t *read_document(struct ctl *ctl, struct top_data **data)
{
	json_t *document = NULL;

	ctl->err = (struct error)ERROR_INIT;
	if (*data == NULL)
		*data = top_data_open(ctl);
	if (*data != NULL)
		document = top_data_look(*data);
	if (document != NULL)
		return document;
	top_data_close(*data);
	*data = NULL;
	return json_pack("{s:o}", "error", ctl_json_text(ctl->err.text));
}

static _Noreturn void reader_run(struct ctl *ctl, int fd, pid_t parent)
{
	struct top_data *data = NULL;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	signal(SIGINT, SIG_IGN);	/* the keys are not for it */
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	while (read(fd, &byte, 1) == 1) {
		json_t *document = read_document(ctl, &data);
		char *text = json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(12));

		if (text == NULL || dprintf(fd, "%s\n", text) < 0)
			break;
		free(text);
		json_decref(document);
	}
	_exit(0);
}

/* ---- the live view ---- */

struct top {
	struct ctl *ctl;
	pid_t reader;
	int fd, signals;
	struct buf answer;	/* as far as it has come */
	json_t *document;	/* the last good one */
	usec_t at;		/* when that came */
	char *error;		/* of the last look; NULL: it was good */
	usec_t asked_at, next_at;
	bool asked;		/* no answer yet */
	size_t top;		/* the first line shown of all */
	bool ended;
	int died_of;		/* signal to end by; 0: none */
	struct buf frame;
};

static int reader_start(struct top *t)
{
	int pair[2];
	pid_t parent = getpid();
	sigset_t none;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(&t->ctl->err, ERR_SYS, "socketpair: %s", strerror(errno));
	t->reader = fork();
	if (t->reader < 0) {
		close(pair[0]);
		close(pair[1]);
		return error_set(&t->ctl->err, ERR_SYS, "fork: %s", strerror(errno));
	}
	if (t->reader == 0) {
		close(pair[0]);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		reader_run(t->ctl, pair[1], parent);
	}
	close(pair[1]);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	t->fd = pair[0];
	return 0;
}

static void reader_stop(struct top *t)
{
	if (t->reader <= 0)
		return;
	kill(t->reader, SIGKILL);
	while (waitpid(t->reader, NULL, 0) < 0 && errno == EINTR)
		;
	close(t->fd);
}

static void ask(struct top *t, usec_t now)
{
	if (t->asked || send(t->fd, "?", 1, MSG_NOSIGNAL) != 1)
		return;
	t->asked = true;
	t->asked_at = now;
	t->next_at = now + t->ctl->opt.every;
}

/* Takes text. */
static void note_error(struct top *t, char *text)
{
	free(t->error);
	t->error = text;
}

static void take_answer(struct top *t, usec_t now)
{
	json_t *document = json_loads(buf_text(&t->answer), 0, NULL);
	const char *error = json_string_value(json_object_get(document, "error"));

	buf_clear(&t->answer);
	t->asked = false;
	if (document == NULL || error != NULL) {
		note_error(t, xstrdup(error != NULL ? error : "an answer that cannot be read"));
		json_decref(document);
		return;
	}
	note_error(t, NULL);
	json_decref(t->document);
	t->document = document;
	t->at = now;
}

static void read_answer(struct top *t, usec_t now)
{
	char data[65536];
	ssize_t n;

	while ((n = recv(t->fd, data, sizeof data, 0)) > 0) {
		buf_add(&t->answer, data, (size_t)n);
		if (data[n - 1] == '\n')
			take_answer(t, now);
	}
	if (n == 0)	/* it has died */
		t->ended = error_set(&t->ctl->err, ERR_SYS, "the process that asks the database has ended") < 0;
}

/* ---- drawing ---- */

static enum screen_look screen_look_of(enum look look)
{
	static const enum screen_look looks[] = {
		[PLAIN] = SCREEN_PLAIN, [TITLE] = SCREEN_BOLD, [BAD] = SCREEN_RED, [FAINT] = SCREEN_FAINT,
	};

	return looks[look];
}

static void draw_text(struct top *t, enum screen_look look, const char *text, size_t columns)
{
	struct buf line = BUF_INIT;

	view_cell(&line, text, columns, false);
	screen_line(&t->frame, look, buf_text(&line));
	buf_release(&line);
}

/* What is shown is old: why, and how old. Else whose it is. */
static void draw_state(struct top *t, size_t columns, usec_t now)
{
	char age[USEC_TEXT_MAX], *text;
	bool slow = t->asked && now > t->asked_at + PATIENCE;

	usec_text((now - t->at) / SEC * SEC, age);
	if (t->error != NULL || slow) {
		text = xasprintf("%s OLD: %s", age, t->error != NULL ? t->error : "the database does not answer");
		draw_text(t, SCREEN_RED, text, columns);
	} else {
		text = xasprintf("%s  %s", json_string_value(json_object_get(t->document, "at")),
		                 json_string_value(json_object_get(t->document, "database")));
		draw_text(t, SCREEN_FAINT, text, columns);
	}
	free(text);
}

static void draw_foot(struct top *t, size_t columns, size_t shown, size_t all)
{
	char *text = all > shown ? xasprintf("lines %zu to %zu of %zu (up, down, page)  q quit  space refresh", t->top + 1, t->top + shown, all)
	                         : xstrdup("q quit  space refresh");

	draw_text(t, SCREEN_FAINT, text, columns);
	free(text);
}

/* Totals, state, as much as fits of the lines, keys. */
static void draw(struct top *t, usec_t now)
{
	struct view view = VIEW_INIT;
	struct buf totals = BUF_INIT;
	size_t columns, rows, room, shown;

	screen_size(&columns, &rows);
	room = rows > 4 ? rows - 4 : 1;
	view_fill(&view, t->document, columns);
	if (t->top > 0 && t->top + room > view.len)
		t->top = view.len > room ? view.len - room : 0;
	shown = view.len - t->top < room ? view.len - t->top : room;
	view_totals(&totals, t->document);
	draw_text(t, SCREEN_REVERSE, buf_text(&totals), columns);
	draw_state(t, columns, now);
	screen_line(&t->frame, SCREEN_PLAIN, "");
	for (size_t i = 0; i < room; i++)
		if (i < shown)
			screen_line(&t->frame, screen_look_of(view.v[t->top + i].look), view.v[t->top + i].text);
		else
			screen_line(&t->frame, SCREEN_PLAIN, "");
	if (rows > 4)
		draw_foot(t, columns, shown, view.len);
	screen_show(&t->frame);
	buf_release(&totals);
	view_release(&view);
}

/* ---- keys and signals ---- */

static void scroll(struct top *t, enum key key)
{
	size_t columns, rows, page;

	screen_size(&columns, &rows);
	page = rows > 5 ? rows - 5 : 1;
	if (key == KEY_UP || key == KEY_PAGE_UP) {
		size_t by = key == KEY_UP ? 1 : page;

		t->top -= by < t->top ? by : t->top;
	} else if (key == KEY_HOME) {
		t->top = 0;
	} else if (key == KEY_END) {
		t->top = 1000000;	/* draw() knows the last one */
	} else {
		t->top += key == KEY_DOWN ? 1 : page;
	}
}

static void take_keys(struct top *t, usec_t now)
{
	enum key key;

	while ((key = screen_key()) != KEY_NONE) {
		if (key == KEY_QUIT || key == KEY_HANGUP)
			t->ended = true;
		else if (key == KEY_REFRESH)
			ask(t, now);
		else
			scroll(t, key);
	}
}

/* As any program that was put aside: the shell gets its screen, and we get ours again when it is our turn. */
static void put_aside(struct top *t)
{
	screen_close();
	kill(getpid(), SIGSTOP);
	if (screen_open(&t->ctl->err) < 0)
		t->ended = true;
}

static void take_signal(struct top *t)
{
	struct signalfd_siginfo info;

	while (read(t->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		switch (info.ssi_signo) {
		case SIGTSTP:
			put_aside(t);
			break;
		case SIGINT:
			t->ended = true;
			break;
		case SIGTERM:
		case SIGHUP:
		case SIGQUIT:
			t->ended = true;
			t->died_of = (int)info.ssi_signo;
			break;
		default:	/* WINCH, CONT: the frame that comes next is enough */
			break;
		}
	}
}

static int signals_open(struct top *t, sigset_t *mask)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };

	sigemptyset(mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(mask, signals[i]);
	sigprocmask(SIG_BLOCK, mask, NULL);
	t->signals = signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return t->signals >= 0 ? 0 : error_set(&t->ctl->err, ERR_SYS, "signalfd: %s", strerror(errno));
}

/* ---- the loop ---- */

/* A frame at least once a second: ages of what does not come any more grow. */
static void turn(struct top *t)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN }, { .fd = t->signals, .events = POLLIN }, { .fd = t->fd, .events = POLLIN },
	};
	usec_t now = clock_now(), wait = SEC;

	if (!t->asked && t->next_at < now + wait)
		wait = t->next_at > now ? t->next_at - now : 0;
	poll(fds, ARRAY_SIZE(fds), (int)((wait + MSEC - 1) / MSEC));
	now = clock_now();
	if (fds[0].revents != 0)
		take_keys(t, now);
	if (fds[1].revents != 0)
		take_signal(t);
	if (fds[2].revents != 0)
		read_answer(t, now);
	if (now >= t->next_at)
		ask(t, now);
	if (!t->ended)
		draw(t, now);
}

static enum exit_status live(struct ctl *ctl, json_t *document)
{
	struct top t = { .ctl = ctl, .document = document, .at = clock_now(), .fd = -1, .signals = -1 };
	sigset_t mask;

	t.next_at = t.at + ctl->opt.every;
	if (signals_open(&t, &mask) == 0 && reader_start(&t) == 0 && screen_open(&ctl->err) == 0) {
		draw(&t, t.at);
		while (!t.ended)
			turn(&t);
	}
	screen_close();
	reader_stop(&t);
	if (t.signals >= 0)
		close(t.signals);
	json_decref(t.document);
	free(t.error);
	buf_release(&t.answer);
	buf_release(&t.frame);
	if (t.died_of != 0) {		/* the screen is as it was: end as the signal wants it */
		signal(t.died_of, SIG_DFL);
		raise(t.died_of);
	}
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	return ctl_failed(ctl);
}

static bool is_screen(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
}

enum exit_status top_run(struct ctl *ctl)
{
	bool once = ctl->opt.once || ctl->cli.common.json || !is_screen();
	json_t *document;

	if (ctl->opt.every < EVERY_LEAST)
		return ctl_fail(ctl, ERR_USAGE, "--every: expected at least 250ms: each look asks the database");
	document = look_once(ctl);
	if (document == NULL)
		return ctl_failed(ctl);
	if (!once)
		return live(ctl, document);
	print_once(ctl, document);
	json_decref(document);
	return ctl_failed(ctl);
}
