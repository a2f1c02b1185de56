/*
 * log_syslog.h - lines to the system's log, by way of its socket.
 */
#ifndef LOG_SYSLOG_H
#define LOG_SYSLOG_H

#include <stdbool.h>
#include <stddef.h>

/* severity: 3 error to 7 debug. Never waits: a line that cannot be taken now is lost. */
void log_syslog_send(int severity, const char *line, size_t len);
bool log_syslog_is_there(void);

#endif
