/*
 * clock.c - the two clocks, durations and times as text, and jitter.
 *
 * Not here: timers. Whoever waits keeps a deadline and compares.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "buf.h"
#include "clock.h"
#include "failpoint.h"

/* Descending: a duration names its units in this order, each at most once. */
static const struct unit {
	const char *name;
	usec_t usec;
} units[] = {
	{ "d", DAY }, { "h", HOUR }, { "m", MINUTE }, { "s", SEC }, { "ms", MSEC },
};

static usec_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (usec_t)ts.tv_sec * SEC + (usec_t)ts.tv_nsec / 1000;
}

static usec_t real_clock(void)
{
	return read_clock(CLOCK_MONOTONIC) + CLOCK_MOVED(0);
}

usec_t (*clock_now)(void) = real_clock;

usec_t clock_wall(void)
{
	return read_clock(CLOCK_REALTIME) + CLOCK_MOVED(1);
}

/* Digits at *at, which then points behind them. */
static bool read_number(const char **at, uint64_t *out)
{
	const char *p = *at;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	if (p == *at)
		return false;
	*at = p;
	*out = n;
	return true;
}

/* The unit at *at: all the letters up to the next digit or the end. Its index, or ARRAY_SIZE(units). */
static size_t read_unit(const char **at)
{
	size_t len = strcspn(*at, "0123456789");

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strlen(units[i].name) == len && memcmp(units[i].name, *at, len) == 0) {
			*at += len;
			return i;
		}
	}
	return ARRAY_SIZE(units);
}

int usec_parse(const char *text, usec_t *out)
{
	const char *p = text;
	usec_t sum = 0;
	size_t next = 0;	/* units before this one are used up */

	do {
		uint64_t n;
		usec_t part;
		size_t unit = 3;	/* a number alone is seconds */

		if (!read_number(&p, &n))
			return -1;
		if (*p || next > 0)
			unit = read_unit(&p);
		if (unit < next || unit >= ARRAY_SIZE(units))
			return -1;
		if (__builtin_mul_overflow(n, units[unit].usec, &part) ||
		    __builtin_add_overflow(sum, part, &sum))
			return -1;
		next = unit + 1;
	} while (*p);

	if (sum > USEC_LONGEST)
		return -1;
	*out = sum;
	return 0;
}

char *usec_text(usec_t t, char out[static USEC_TEXT_MAX])
{
	size_t len = 0;

	if (t == USEC_NEVER)
		return strcpy(out, "never");
	strcpy(out, "0s");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		unsigned long long n = t / units[i].usec;

		if (n == 0)
			continue;
		len += (size_t)snprintf(out + len, USEC_TEXT_MAX - len, "%llu%s", n, units[i].name);
		t %= units[i].usec;
	}
	return out;
}

/* Digits at *at, and what stands behind them. strftime() costs ten times as much, and each job has a deadline. */
static void put_digits(char **at, unsigned n, int digits, char behind)
{
	for (int i = digits; i-- > 0; n /= 10)
		(*at)[i] = (char)('0' + n % 10);
	(*at)[digits] = behind;
	*at += digits + 1;
}

char *wall_text(usec_t wall, char out[static WALL_TEXT_MAX])
{
	time_t seconds = (time_t)(wall / SEC);
	char *at = out;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	put_digits(&at, (unsigned)(tm.tm_year + 1900), tm.tm_year + 1900 > 9999 ? 6 : 4, '-');
	put_digits(&at, (unsigned)tm.tm_mon + 1, 2, '-');
	put_digits(&at, (unsigned)tm.tm_mday, 2, 'T');
	put_digits(&at, (unsigned)tm.tm_hour, 2, ':');
	put_digits(&at, (unsigned)tm.tm_min, 2, ':');
	put_digits(&at, (unsigned)tm.tm_sec, 2, '.');
	put_digits(&at, (unsigned)(wall % SEC / MSEC), 3, 'Z');
	*at = '\0';
	return out;
}

usec_t usec_jitter(usec_t base, double fraction)
{
	double share = (double)arc4random() / (double)UINT32_MAX;	/* 0 to 1 */
	double change = (double)base * fraction * (2 * share - 1);

	if (base > USEC_LONGEST)
		return base;
	if (change < 0)
		return base - usec_min(base, (usec_t)-change);
	return base + (usec_t)change;
}
