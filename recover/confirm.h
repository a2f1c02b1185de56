/*
 * confirm.h - may it be done? Asks on a terminal.
 */
#ifndef CONFIRM_H
#define CONFIRM_H

#include <stdbool.h>
#include <stddef.h>

enum consent {
	CONSENT_YES,
	CONSENT_NO,		/* anything but y or yes */
	CONSENT_NOBODY,		/* stdin is no terminal: nobody can be asked */
	CONSENT_STOPPED,	/* a signal came instead of an answer */
};

enum consent confirm_ask(size_t reset, size_t fail);

#endif
