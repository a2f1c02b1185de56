/*
 * workers.h - the registered workers as JSON, for `workers` and `top`.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <jansson.h>
#include <libpq-fe.h>

/* Rows of "workers" in sql/ctl.sql as an array of objects; shorter when one could not be made. */
json_t *workers_json(const PGresult *res);

#endif
