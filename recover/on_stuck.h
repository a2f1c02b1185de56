/*
 * on_stuck.h - run the operator's command with the report on its stdin.
 */
#ifndef ON_STUCK_H
#define ON_STUCK_H

#include <stddef.h>
#include "error.h"

/*
 * No shell; what it prints goes to our stderr. It has a minute, then its process group is
 * killed. -1 and err when it could not be started, failed, or was killed.
 */
int on_stuck_run(char *const *argv, const char *report, size_t len, struct error *err);

#endif
