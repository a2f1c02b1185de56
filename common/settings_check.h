/*
 * settings_check.h - what must fit together; between settings.c and settings_check.c.
 */
#ifndef SETTINGS_CHECK_H
#define SETTINGS_CHECK_H

#include "inifile.h"
#include "setting.h"

/* After all sources were read: complete what follows from other settings, and add a fault for all that does not fit. */
void settings_check(struct settings *s, struct inifile *f, const struct flag_setting *flags);

/* NAME of a [queue NAME] section (borrowed), or NULL for another one. */
const char *settings_queue_of(const struct ini_section *s);

/* "UNSTUCK_WORKER_BATCH". The caller frees it. */
char *settings_variable(const struct setting *row);

#endif
