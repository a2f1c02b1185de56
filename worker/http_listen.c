/*
 * http_listen.c - see http_listen.h.
 */
#include "http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"

#define BACKLOG 64

/* ---- addresses ---- */

static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr)
	       || (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127);
}

/* An address of its own family only, so that 0.0.0.0 and :: can stand side by side. */
static int bind_to(const struct addrinfo *a)
{
	int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	on = errno;
	close(fd);
	errno = on;
	return -1;
}

static enum error_kind kind_of(int code)
{
	return code == EADDRINUSE || code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM ? ERR_SYS : ERR_SETTINGS;
}

/* "host:port", "[::1]:port": the settings made sure of the form. */
static int split(struct http_listen *l, const char *address, char port[static 8])
{
	const char *colon = strrchr(address, ':'), *begin = address, *end = colon;

	if (colon == NULL || strlen(colon + 1) >= 8)
		return -1;
	if (*begin == '[' && end > begin && end[-1] == ']') {
		begin++;
		end--;
	}
	if ((size_t)(end - begin) >= sizeof l->host)
		return -1;
	memcpy(l->host, begin, (size_t)(end - begin));
	l->host[end - begin] = '\0';
	strcpy(port, colon + 1);
	return 0;
}

/* All addresses of the name; those of a family that this host lacks do not count against it. */
static int listen_tcp(struct http_listen *l, const char *address, struct error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
	int rc, why = EADDRNOTAVAIL;
	char port[8];

	if (split(l, address, port) < 0)
		return error_set(err, ERR_SETTINGS, "[http] listen = %s: expected host:port or unix:/path", address);
	rc = getaddrinfo(l->host, port, &hints, &list);
	if (rc != 0)
		return error_set(err, ERR_SETTINGS, "[http] listen = %s: %s", address, gai_strerror(rc));
	for (const struct addrinfo *a = list; a != NULL && l->len < HTTP_LISTEN_MAX; a = a->ai_next) {
		int fd = bind_to(a);

		if (fd >= 0) {
			l->fds[l->len++] = fd;
			l->is_public |= !is_loopback(a->ai_addr);
		} else if (errno != EAFNOSUPPORT && (errno != EADDRNOTAVAIL || l->len == 0)) {
			why = errno;
			if (why == EADDRINUSE)
				break;
		}
	}
	freeaddrinfo(list);
	if (l->len != 0 && why != EADDRINUSE)
		return 0;
	return error_set(err, kind_of(why), "[http] listen = %s: %s", address,
	                 why == EADDRINUSE ? "another process listens there" : strerror(why));
}

/* ---- a path ---- */

/* 1: somebody listens there; 0: nobody, and there may be a file; -1: something that is no socket of ours to judge. */
static int is_in_use(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno == EAGAIN || errno == EINPROGRESS)
		rc = 1;
	else
		rc = errno == ECONNREFUSED || errno == ENOENT ? 0 : -1;
	close(fd);
	return rc;
}

/* What a process left that died is nobody's. */
static int clear_path(const char *path, const struct sockaddr_un *sa, struct error *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, ERR_SETTINGS, "[http] listen = unix:%s: there is a file, and it is no socket", path);
	switch (is_in_use(sa)) {
	case 0:
		unlink(path);
		return 0;
	case 1:
		return error_set(err, ERR_SYS, "[http] listen = unix:%s: another process listens there", path);
	default:
		return error_set(err, ERR_SETTINGS, "[http] listen = unix:%s: %s", path, strerror(errno));
	}
}

/* For its user and group: a web server or an agent is let in by the group. */
static int listen_unix(struct http_listen *l, const char *path, struct error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd, rc;

	l->is_unix = true;
	if (strlen(path) >= sizeof sa.sun_path)
		return error_set(err, ERR_SETTINGS, "[http] listen = unix:%s: the path is too long", path);
	strcpy(sa.sun_path, path);
	if (clear_path(path, &sa, err) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	mask = umask(0117);
	rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&sa, sizeof sa);
	umask(mask);
	if (rc < 0 || listen(fd, BACKLOG) < 0 || lstat(path, &st) != 0) {
		error_set(err, kind_of(errno), "[http] listen = unix:%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	l->fds[l->len++] = fd;
	l->path = xstrdup(path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

/* ---- life ---- */

int http_listen_open(struct http_listen *l, const char *address, struct error *err)
{
	int rc;

	*l = (struct http_listen){ .len = 0 };
	if (strncmp(address, "unix:", 5) == 0)
		rc = listen_unix(l, address + 5, err);
	else
		rc = listen_tcp(l, address, err);
	if (rc < 0)
		http_listen_close(l);
	return rc;
}

void http_listen_close(struct http_listen *l)
{
	struct stat st;

	for (size_t i = 0; i < l->len; i++)
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	l->len = 0;
	if (l->path != NULL && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	free(l->path);
	l->path = NULL;
}
