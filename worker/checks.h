/*
 * checks.h - `unstuck-worker check`: everything that can be wrong, said at once; nothing changed.
 */
#ifndef CHECKS_H
#define CHECKS_H

#include <stdbool.h>
#include "cli.h"
#include "settings.h"

/* wanted: whether a queue is to be checked. Prints findings on stdout; 0, or 78 when something cannot work. */
enum exit_status checks_run(const struct cli *cli, const struct settings *set,
                           bool (*wanted)(const struct cli *cli, const char *name));

#endif
