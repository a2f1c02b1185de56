/*
 * command.c - the command line that applies what a dry run showed.
 *
 * The same words without --dry-run and with --yes, quoted for a shell. A
 * database URL is only repeated when no password is in it.
 */
#include "report.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

static bool has_password(const char *url)
{
	char *message = NULL;
	PQconninfoOption *all = PQconninfoParse(url, &message);
	bool found = all == NULL;	/* what cannot be read may hold one */

	for (PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
		if (o->val != NULL && o->dispchar[0] == '*')
			found = true;
	PQfreemem(message);
	PQconninfoFree(all);
	return found;
}

static void add_word(struct buf *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./:,@%";

	buf_addc(out, ' ');
	if (*word != '\0' && strspn(word, plain) == strlen(word)) {
		buf_adds(out, word);
		return;
	}
	buf_addc(out, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_adds(out, "'\\''");
		else
			buf_addc(out, *word);
	}
	buf_addc(out, '\'');
}

static void add_url(struct buf *out, const char *flag, const char *url)
{
	buf_addf(out, " %s", flag);
	if (has_password(url))
		buf_adds(out, " \"$DATABASE_URL\"");
	else
		add_word(out, url);
}

/* "-n" alone or among other letters: "-nv" becomes "-v". */
static void add_letters(struct buf *out, const char *word)
{
	buf_adds(out, " -");
	for (word++; *word != '\0'; word++)
		if (*word != 'n')
			buf_addc(out, *word);
}

void report_command(struct buf *out, const struct recover *ask)
{
	buf_adds(out, "unstuck-recover --yes");
	for (char **w = ask->words + 1; ask->words[0] != NULL && *w != NULL; w++) {
		const char *word = *w;

		if (strcmp(word, "-n") == 0 || strncmp(word, "--dry", 5) == 0 || strcmp(word, "-y") == 0 ||
		    strcmp(word, "--yes") == 0)
			continue;
		if ((strcmp(word, "-d") == 0 || strcmp(word, "--database-url") == 0) && w[1] != NULL)
			add_url(out, word, *++w);
		else if (strncmp(word, "--database-url=", 15) == 0)
			add_url(out, "--database-url", word + 15);
		else if (strncmp(word, "-d", 2) == 0)
			add_url(out, "-d", word + 2);
		else if (strstr(word, "://") != NULL || strstr(word, "password") != NULL)
			buf_adds(out, " \"$DATABASE_URL\"");	/* "--database URL", shortened */
		else if (word[0] == '-' && strchr(word, 'n') != NULL && strspn(word + 1, "nyvq") == strlen(word + 1))
			add_letters(out, word);
		else
			add_word(out, word);
	}
}
