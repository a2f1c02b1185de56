/*
 * rate_script.h - what Redis does for a rate, in one step. For rate.c.
 */
#ifndef RATE_SCRIPT_H
#define RATE_SCRIPT_H

extern const char rate_script[];

#endif
