/*
 * lates.h - what listing late results (lates.c) and adopting them (adopting.c) share.
 */
#ifndef LATES_H
#define LATES_H

#include "ctl.h"

/* `late adopt ID...`: the words behind adopt. */
enum exit_status late_adopt(struct ctl *ctl, char *const *ids, size_t len);

#endif
