/*
 * version.c - the only object that knows its version: another one can be linked from the same code.
 */
#include "version.h"

const char unstuck_version[] = UNSTUCK_VERSION;
