/*
 * spool_out.h - the output files of one instance: one a child, used again and again.
 *
 * The child's stdout is a description of its own, with a shared lock on the file: as long as
 * any process prints into it, the file can neither be given to another job nor
 * be taken for over, also when this process is gone.
 */
#ifndef SPOOL_OUT_H
#define SPOOL_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include "spool.h"

struct spool_outs;

MUST_CHECK struct spool_outs *spool_outs_new(int dir, uint32_t seed);
void spool_outs_free(struct spool_outs *p);		/* files stay; clear first removes those that are free */
void spool_outs_clear(struct spool_outs *p);
void spool_outs_move(struct spool_outs *p, int dir);	/* the directory is another one now */

struct spool_out *spool_outs_take(struct spool_outs *p, const struct spool_record *r, int *fd, struct error *err);
int spool_outs_note(const struct spool_outs *p, const struct spool_out *o, struct spool_note *out, struct error *err);
void spool_outs_give(struct spool_outs *p, struct spool_out *o);
void spool_outs_tidy(struct spool_outs *p);		/* now and then: takes off what files that are free still say */

#endif
