/*
 * nagios.h - --check: one line and an exit status for a monitoring system.
 */
#ifndef NAGIOS_H
#define NAGIOS_H

#include "run.h"

enum nagios { NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN };

/* Look, change nothing, print the line. The exit status is one of enum nagios. */
int nagios_check(const struct recover *ask);

/* "UNSTUCK UNKNOWN - why" for what goes wrong before that. */
int nagios_unknown(const char *why);

#endif
