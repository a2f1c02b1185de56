/*
 * scene.h - what every helper of the tests needs: texts that live as long as the
 * test, a failure that names the line of the test, and deadlines.
 *
 * Not here: what happens before and after a test (story.c).
 */
#ifndef SCENE_H
#define SCENE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Memory of the test; nobody frees it. */
char *story_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *story_vtext(const char *fmt, va_list ap);
void *story_memory(size_t size);	/* zeroed */
void story_forget(void);		/* frees all of it: story.c, after each test */

/* Where in the test we are: the must_...() macros note it, story_fail() reports it. */
void story_at(const char *file, int line);
_Noreturn void story_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Deadlines in milliseconds, times CK_TIMEOUT_MULTIPLIER (sanitizers are slow).
 * while (!fact()) { if (!story_wait(until)) story_fail("..."); }
 */
uint64_t story_until(unsigned ms);
bool story_wait(uint64_t until);	/* 10 ms, or false when the time is over */

/* Poll a C expression until it is true. */
#define must_happen(expr, ms) do { \
		uint64_t until_ = story_until(ms); \
		story_at(__FILE__, __LINE__); \
		while (!(expr)) \
			if (!story_wait(until_)) \
				story_fail("still not so after %u ms: %s", (unsigned)(ms), #expr); \
	} while (0)

/* What is done at the end of a test that went well, the last one first, before anybody looks for what is left. */
void story_after(void (*end)(void *arg), void *arg);
int story_closes(int fd);	/* such an end for a descriptor, which is given back */
void story_end(void);		/* story.c */

size_t text_count(const char *text, const char *what);	/* how often it occurs */

#endif
