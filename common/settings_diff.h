/*
 * settings_diff.h - what differs between two readings of the settings, and what a running worker cannot take over.
 */
#ifndef SETTINGS_DIFF_H
#define SETTINGS_DIFF_H

#include "setting.h"

bool setting_equal(const struct setting *row, const void *a, const void *b);
bool queue_settings_equal(const struct queue_settings *a, const struct queue_settings *b);

/*
 * What takes a restart keeps its old value in the new settings; tell is called with the name of each
 * one that was changed.
 */
void settings_keep_fixed(struct settings *new, const struct settings *old, void (*tell)(void *arg, const struct setting *row),
                         void *arg);

#endif
