/*
 * must.h - what the programs of the benchmark share: calls that succeed or end the
 * program with a message, and the clock. Nothing of Unstuck's own libraries: a floor stands alone.
 */
#ifndef MUST_H
#define MUST_H

#include <libpq-fe.h>
#include <stdint.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* CLOCK_MONOTONIC, microseconds: the same for all processes of the machine. */
double now_us(void);

int must_number(const char *text, const char *what);
void *must_alloc(size_t count, size_t size);

PGconn *must_connect(const char *url);

/* One or more statements by the simple protocol, each result dropped. */
void must_exec(PGconn *conn, const char *sql);

/* The first value of the first row, as a number; parameter may be NULL. */
double must_ask(PGconn *conn, const char *sql, const char *parameter);

/* res must have this status. Ends the program otherwise. */
void must_be(PGconn *conn, const PGresult *res, ExecStatusType status);

/* Sorts values. p from 0 to 1, nearest rank; 0 of nothing. */
double percentile(double *values, size_t count, double p);

#endif
