/*
 * worker_story.h - words that the stories about the worker share.
 */
#ifndef WORKER_STORY_H
#define WORKER_STORY_H

#include "story.h"

/* unstuck.ini of the test: the database, and what the test wants. */
#define settings(db, ...) \
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n%s", (db)->url, story_text(__VA_ARGS__))

/* A handler as a shell script in the test's directory. Returns its path. */
#define script(name, body) write_script(name, story_text("#!/bin/sh\n%s\n", body))

#endif
