/*
 * screen.h - a terminal that is ours for a while: the alternate screen, keys without Enter, and everything as it was
 * afterwards, on every way out.
 *
 * Plain ANSI sequences that every terminal of the last thirty years knows. There is one screen in a process.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include "buf.h"
#include "error.h"

/* Take the terminal; also restored at exit() and by the signals of a crash. Signals of the terminal stay as they are. */
int screen_open(struct error *err);
void screen_close(void);	/* may be called again, and by a handler of a signal */
void screen_size(size_t *columns, size_t *rows);

/* One frame is collected, then written at once. A line must not be wider than the terminal. */
enum screen_look { SCREEN_PLAIN, SCREEN_BOLD, SCREEN_REVERSE, SCREEN_RED, SCREEN_FAINT };
void screen_line(struct buf *frame, enum screen_look look, const char *text);
void screen_show(struct buf *frame);	/* and empties it */

enum key { KEY_NONE, KEY_QUIT, KEY_REFRESH, KEY_UP, KEY_DOWN, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_END, KEY_HANGUP };
/* The next key that was pressed; KEY_NONE: none is left. Call when the terminal is readable, until KEY_NONE. */
enum key screen_key(void);

#endif
