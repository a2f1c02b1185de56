/*
 * nomem.c - a library for LD_PRELOAD: one allocation of the program fails, whoever asked for it.
 *
 *	NOMEM_AT=k	the k-th since main() fails (jansson's, libevent's and libpq's are counted too)
 *	NOMEM_FROM=k	that and all that follow
 *	NOMEM_COUNT=F	how many there were is written to this file at the end
 *
 * glibc's own names are behind it: __libc_malloc() and its like.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static atomic_ulong count;
static unsigned long at, from;
static atomic_bool counting;
static _Thread_local bool spared;

static unsigned long number(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? strtoul(text, NULL, 10) : 0;
}

/* What the loader allocates comes before, what other libraries do in their constructors perhaps. */
__attribute__((constructor)) static void begin(void)
{
	at = number("NOMEM_AT");
	from = number("NOMEM_FROM");
	atomic_store(&counting, true);
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("NOMEM_COUNT");
	int fd;

	atomic_store(&counting, false);
	fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
	if (fd >= 0)
		dprintf(fd, "%lu\n", atomic_load(&count));
}

static bool fails(void)
{
	unsigned long n;

	if (!atomic_load(&counting) || spared)
		return false;
	n = atomic_fetch_add(&count, 1) + 1;
	if (n != at && (from == 0 || n < from))
		return false;
	errno = ENOMEM;
	return true;
}

/* The names of glibc's own parameters are not for us to use. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* glibc's own look-up of users (libpq asks for our name) crashes without memory: 2.36. */
int getpwuid_r(uid_t uid, struct passwd *pwd, char *buf, size_t len, struct passwd **result)
{
	int (*real)(uid_t, struct passwd *, char *, size_t, struct passwd **);
	int rc;

	*(void **)&real = dlsym(RTLD_NEXT, "getpwuid_r");
	spared = true;
	rc = real(uid, pwd, buf, len, result);
	spared = false;
	return rc;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
