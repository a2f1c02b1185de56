/*
 * replay_judge.h - what a handler came to whose worker died before it: by the note of who attended it.
 */
#ifndef REPLAY_JUDGE_H
#define REPLAY_JUDGE_H

#include "buf.h"
#include "settings.h"
#include "spool_record.h"

/*
 * r is an output that has ended, bytes what was printed. r becomes the record that the worker would have sealed; it
 * points into bytes and error, which the caller releases. false: its queue is not in the settings.
 */
bool replay_judge(const struct settings *s, struct spool_record *r, struct buf *bytes, struct buf *error);

#endif
