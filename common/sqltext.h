/*
 * sqltext.h - the texts of sql/, compiled in (sql/embed.awk makes sqltext.c).
 */
#ifndef SQLTEXT_H
#define SQLTEXT_H

/*
 * The part of sql/<file>.sql between "-- name: <name>" and the next such line,
 * or the whole file for name NULL. Never NULL: a name that does not exist is a
 * bug of ours and ends the program.
 */
const char *sqltext(const char *file, const char *name);

#endif
