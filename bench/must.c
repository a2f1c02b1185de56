/*
 * must.c - see must.h.
 */
#include "must.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)fputs("bench: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
	exit(1);
}

double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

int must_number(const char *text, const char *what)
{
	char *end = NULL;
	long n = strtol(text, &end, 10);

	if (end == text || *end != '\0' || n < 0 || n > 1000000000)
		die("%s: not a number: %s", what, text);
	return (int)n;
}

void *must_alloc(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

double percentile(double *values, size_t count, double p)
{
	size_t rank;

	if (count == 0)
		return 0;
	qsort(values, count, sizeof *values, by_size);
	rank = (size_t)ceil(p * (double)count);
	return values[rank == 0 ? 0 : rank - 1];
}
