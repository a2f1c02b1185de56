/*
 * line.h - jobs that are claimed and wait for a handler process, and how many there should be.
 */
#ifndef LINE_H
#define LINE_H

#include "worker.h"

void line_add(struct job *j);		/* behind the others */
void line_return(struct job *j);	/* in front: it was not started after all */
void line_leave(struct job *j);		/* to be started, or forgotten */
void line_give_back(struct queue *q, const char *why);	/* all are released */
usec_t line_advance(struct queue *q, usec_t now);	/* gives back who waited for too long; returns when to call again */

/* A job ran this long. What is claimed ahead goes by the mean. */
void line_note_time(struct queue *q, usec_t took);
/* Process slots of the worker: those at work, and those that a job in line or one that is asked for may put to work. */
uint32_t line_slots(const struct queue *q);
/* How many more jobs to claim when so many slots of the worker are free; sets q->reserved. */
uint32_t line_room(struct queue *q, uint32_t free_slots);

#endif
