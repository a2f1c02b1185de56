/*
 * version.h - which version this is, as --version, the log and unstuck.workers tell it.
 */
#ifndef VERSION_H
#define VERSION_H

extern const char unstuck_version[];	/* what the file VERSION held when this was built */

#endif
