/*
 * ident.h - SQL identifiers and literals: the one place that quotes.
 */
#ifndef IDENT_H
#define IDENT_H

#include "buf.h"
#include "error.h"

/*
 * Read one identifier as settings and flags write it: lower-case words bare
 * (reserved ones too), everything else in double quotes ("" for a quote).
 * Gives the bare name (caller frees), or NULL and err that names what was
 * expected; "Videos" without quotes is refused with the hint to quote it.
 */
MUST_CHECK char *ident_parse(const char *text, struct error *err);

/* The same for [schema.]table. *schema is NULL when there is none. Caller frees both. */
int ident_parse_qualified(const char *text, char **schema, char **name, struct error *err);

void ident_quote(struct buf *out, const char *name);	/* always "quoted" */
char *ident_quoted(const char *name);			/* the same; caller frees */
char *ident_shown(const char *name);			/* for people to copy: "quoted" unless it is a lower-case word; caller frees */
void literal_quote(struct buf *out, const char *text);	/* 'quoted', E'' where a backslash is inside */

#endif
