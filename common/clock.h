/*
 * clock.h - one type for time, one clock, and durations as people write them.
 *
 * usec_t is microseconds, always. Deadlines are monotonic; wall-clock time is
 * only for what people or the database see.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t usec_t;

#define MSEC ((usec_t)1000)
#define SEC ((usec_t)1000000)
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define USEC_NEVER UINT64_MAX
/* The longest duration taken as input: no clock, ours or the database's, overflows with it. */
#define USEC_LONGEST (1000000 * DAY)

extern usec_t (*clock_now)(void);	/* monotonic; tests may put their own here */
usec_t clock_wall(void);		/* microseconds since 1970, UTC */

static inline usec_t usec_min(usec_t a, usec_t b)
{
	return a < b ? a : b;
}

/*
 * "90" (seconds), "250ms", "90s", "15m", "1h", "1h30m", "2d" to microseconds.
 * Units descend and do not repeat; no sign, no blanks, no fraction; at most
 * USEC_LONGEST. 0 or -1.
 */
int usec_parse(const char *text, usec_t *out);

#define USEC_TEXT_MAX 48
/*
 * The form above with no part that is 0 ("1h30m", "250ms", "0s"), into out; USEC_NEVER is "never".
 * Exact to the millisecond, what is finer is cut. Returns out.
 */
char *usec_text(usec_t t, char out[static USEC_TEXT_MAX]);

#define WALL_TEXT_MAX 32
/* RFC 3339 with milliseconds and Z. Returns out. */
char *wall_text(usec_t wall, char out[static WALL_TEXT_MAX]);

/* base changed by up to +-fraction (0.2 = 20 %) at random, so that fleets do not march in step. */
usec_t usec_jitter(usec_t base, double fraction);

#endif
