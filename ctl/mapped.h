/*
 * mapped.h - statements of sql/ctl.sql over the table of a queue, filled from its mapping.
 */
#ifndef MAPPED_H
#define MAPPED_H

#include "mapping.h"

/*
 * {table}, {status}, {updated_at} (timestamptz, or null), {where} and {ready} (literals of the statuses to claim
 * from) of a section. The mapping is resolved. Caller frees.
 */
MUST_CHECK char *mapped_sql(const struct mapping *m, const char *section);

#endif
