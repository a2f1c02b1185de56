/*
 * schedule.h - --every: stay, and recover again and again until a signal comes.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "run.h"

enum exit_status schedule_run(const struct recover *ask);

#endif
