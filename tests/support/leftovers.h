/*
 * leftovers.h - what a test may not leave behind: processes of the programs that it ran, and descriptors of its own.
 *
 * Not here: the programs that it started itself and how they end (proc.h).
 */
#ifndef LEFTOVERS_H
#define LEFTOVERS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A test case for parts that need no scene (else story.h), with this watch around each of its tests. */
TCase *unit_case(Suite *suite, const char *name);

/*
 * Orphans of the programs come to the test: how many processes below it are alive now, those of proc_start() included
 * (zombies are not).
 */
size_t procs_alive(void);
char pid_state(pid_t pid);	/* as in /proc; 0 when it is gone */
bool pid_alive(pid_t pid);	/* there, and no zombie */

/* For story.c. */
void procs_adopt(pid_t but);		/* orphans below this process become its children; this child, and what is below it, is not the test's */
void procs_end(void);			/* kills and reaps everything below this process */
void procs_end_with(const char *text);	/* kills every process whose environment has the text */
void leftovers_begin(void);		/* from here on; this process ends with its parent, too */
void leftovers_no_process(void);	/* fails the test if one is left, some seconds later still */
void leftovers_no_descriptor(void);	/* fails the test if one is open that was not at the beginning */

#endif
