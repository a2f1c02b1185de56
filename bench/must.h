/*
 * must.h - what the programs of the benchmark share: calls that succeed or end the
 * program with a message, and the clock. Nothing of Unstuck's own libraries: a floor stands alone.
 */
#ifndef MUST_H
#define MUST_H

#include <stddef.h>
#include <stdint.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* CLOCK_MONOTONIC, microseconds: the same for all processes of the machine. */
double now_us(void);

int must_number(const char *text, const char *what);
void *must_alloc(size_t count, size_t size);

/* Sorts values. p from 0 to 1, nearest rank; 0 of nothing. */
double percentile(double *values, size_t count, double p);

#endif
