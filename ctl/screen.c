/*
 * screen.c - see screen.h. Not here: what is shown, and when (top.c).
 */
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "cli.h"

#define ENTER "\033[?1049h\033[?25l\033[?7l"	/* the other screen, no cursor, no wrapping */
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

static struct termios before;
static volatile sig_atomic_t taken;
static bool colour;
static char typed[256];		/* keys that were read and not given yet */
static size_t typed_len;
static size_t lines;		/* of the frame that is being made */

static void put(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR)
			return;
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

void screen_close(void)
{
	if (!taken)
		return;
	taken = 0;
	put(LEAVE, sizeof LEAVE - 1);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* A crash leaves a usable terminal, and then takes its course. */
static void on_crash(int signo)
{
	screen_close();
	signal(signo, SIG_DFL);
	raise(signo);
}

static void watch_ends(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static bool watched;

	if (watched)
		return;
	watched = true;
	atexit(screen_close);
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		sigaction(crashes[i], &(struct sigaction){ .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND }, NULL);
}

int screen_open(struct error *err)
{
	struct termios raw;

	if (taken)
		return 0;
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return error_set(err, ERR_SYS, "the terminal: %s", strerror(errno));
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);	/* ^C and ^Z stay signals */
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	watch_ends();
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return error_set(err, ERR_SYS, "the terminal: %s", strerror(errno));
	taken = 1;
	colour = cli_colour(STDOUT_FILENO);
	put(ENTER, sizeof ENTER - 1);
	return 0;
}

void screen_size(size_t *columns, size_t *rows)
{
	struct winsize w;
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0;

	*columns = known ? w.ws_col : 80;
	*rows = known ? w.ws_row : 24;
}

/* ---- frames ---- */

void screen_line(struct buf *frame, enum screen_look look, const char *text)
{
	static const char *const looks[] = {
		[SCREEN_PLAIN] = "", [SCREEN_BOLD] = "\033[1m", [SCREEN_REVERSE] = "\033[7m", [SCREEN_RED] = "\033[31m",
		[SCREEN_FAINT] = "\033[2m",
	};
	bool plain = !colour || look == SCREEN_PLAIN;

	buf_adds(frame, lines++ == 0 ? "\033[H" : "\r\n");
	buf_addf(frame, "%s%s%s\033[K", plain ? "" : looks[look], text, plain ? "" : "\033[0m");
}

/* A terminal that takes nothing at the moment (^S) gets the next one. */
void screen_show(struct buf *frame)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	buf_adds(frame, "\033[J");
	if (taken && poll(&out, 1, 0) == 1)
		put(frame->data, frame->len);
	buf_clear(frame);
	lines = 0;
}

/* ---- keys ---- */

static const struct { const char *bytes; enum key key; } keys[] = {
	{ "\033[A", KEY_UP }, { "\033OA", KEY_UP }, { "k", KEY_UP }, { "\033[B", KEY_DOWN }, { "\033OB", KEY_DOWN }, { "j", KEY_DOWN },
	{ "\033[5~", KEY_PAGE_UP }, { "b", KEY_PAGE_UP }, { "\033[6~", KEY_PAGE_DOWN }, { "f", KEY_PAGE_DOWN },
	{ "\033[H", KEY_HOME }, { "\033OH", KEY_HOME }, { "\033[1~", KEY_HOME }, { "g", KEY_HOME },
	{ "\033[F", KEY_END }, { "\033OF", KEY_END }, { "\033[4~", KEY_END }, { "G", KEY_END },
	{ "q", KEY_QUIT }, { "Q", KEY_QUIT }, { " ", KEY_REFRESH }, { "r", KEY_REFRESH }, { "\f", KEY_REFRESH },
};

static void take(size_t n)
{
	typed_len -= n;
	memmove(typed, typed + n, typed_len);
}

/* The sequence at the start of typed; what is no key of ours is dropped, an unknown sequence as a whole. */
static enum key parse_key(void)
{
	size_t n = 1;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].bytes);

		if (typed_len >= len && memcmp(typed, keys[i].bytes, len) == 0) {
			take(len);
			return keys[i].key;
		}
	}
	if (typed_len >= 2 && typed[0] == '\033' && (typed[1] == '[' || typed[1] == 'O'))
		for (n = 2; n < typed_len && (typed[n] < '@' || typed[n] > '~'); n++)
			;
	take(n < typed_len ? n + (n > 1) : typed_len);
	return KEY_NONE;
}

enum key screen_key(void)
{
	enum key key = KEY_NONE;

	if (typed_len == 0) {
		ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
		struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

		if (n <= 0)
			return poll(&in, 1, 0) == 1 && in.revents & (POLLHUP | POLLERR | POLLNVAL) ? KEY_HANGUP : KEY_NONE;
		typed_len = (size_t)n;
	}
	while (typed_len > 0 && key == KEY_NONE)
		key = parse_key();
	return key;
}
