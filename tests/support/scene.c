/*
 * scene.c - texts that live as long as the test, failing at the test's own line,
 * and deadlines.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "scene.h"

/* A list of blocks; the text comes right behind the link. */
struct block {
	struct block *next;
	max_align_t data[];
};

static struct block *blocks;
struct ending {
	struct ending *next;
	void (*end)(void *arg);
	void *arg;
};

static struct ending *endings;
static const char *at_file = "?";
static int at_line;

void *story_memory(size_t size)
{
	struct block *b = calloc(1, sizeof *b + size);

	if (b == NULL)
		story_fail("no memory for %zu bytes", size);
	b->next = blocks;
	blocks = b;
	return b->data;
}

char *story_vtext(const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	char *text = story_memory((size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	return text;
}

char *story_text(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = story_vtext(fmt, ap);
	va_end(ap);
	return text;
}

void story_after(void (*end)(void *arg), void *arg)
{
	struct ending *e = story_memory(sizeof *e);

	*e = (struct ending){ endings, end, arg };
	endings = e;
}

static void close_it(void *arg)
{
	close((int)(intptr_t)arg);
}

int story_closes(int fd)
{
	story_after(close_it, (void *)(intptr_t)fd);
	return fd;
}

void story_end(void)
{
	for (; endings != NULL; endings = endings->next)
		endings->end(endings->arg);
}

void story_forget(void)
{
	while (blocks != NULL) {
		struct block *b = blocks;

		blocks = b->next;
		free(b);
	}
}

void story_at(const char *file, int line)
{
	at_file = file;
	at_line = line;
}

void story_fail(const char *fmt, ...)
{
	char text[6000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	_ck_assert_failed(at_file, at_line, "Failed", "%s", text);
	abort();
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t story_until(unsigned ms)
{
	const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
	double times = text != NULL ? strtod(text, NULL) : 1;

	return now_ms() + (uint64_t)(ms * (times > 1 ? times : 1));
}

bool story_wait(uint64_t until)
{
	if (now_ms() >= until)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	return true;
}

size_t text_count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = strstr(text, what); p != NULL; p = strstr(p + strlen(what), what))
		n++;
	return n;
}
