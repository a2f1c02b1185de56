/*
 * log_events.c - every event that the programs log: its levels, and what it says. For the manual.
 *
 * A test compares the names and levels with all calls of log_event().
 */
#include <stddef.h>
#include "log.h"

const struct event_row log_events[] = {
	{ "started", "info", "the worker, or unstuck-recover --every, does its work from now on" },
	{ "stopping", "info, warning", "a stop has begun: why, and how long running jobs have; a second signal skips that" },
	{ "shutdown", "info", "the last line: the reason, counts of jobs, and how each part ended" },
	{ "quiet", "info", "claims no more, after TSTP or unstuck-worker quiet" },
	{ "resume", "info", "works on, after CONT or unstuck-worker resume" },
	{ "reloaded", "info", "the settings were read again: queues added, changed, removed" },
	{ "reload_needs_restart", "warning", "keys that were changed and count only after a restart" },
	{ "reload_failed", "error", "the settings are wrong or could not be read; those in force stay" },
	{ "queue_refused", "error", "a queue cannot work, and why; the others do" },
	{ "queue_drained", "info", "the last job of a queue that was taken out or changed has ended" },
	{ "state", "info", "after USR2: connection and counters" },
	{ "state_job", "info", "after USR2: one job in flight" },

	{ "claimed", "debug", "so many jobs of a queue were claimed" },
	{ "job_start", "debug", "a handler got the job" },
	{ "job_progress", "debug", "a serve handler told how far it is" },
	{ "job_done", "info", "the result is stored" },
	{ "job_retry", "warning", "the attempt failed; the job is tried again, and when" },
	{ "job_failed", "error", "the job is FAILED for good, and why" },
	{ "job_released", "info, warning", "the job was given back, no failure counted" },
	{ "job_killed", "warning", "its handler was ended: its time was over, its claim was lost, or the worker stops" },
	{ "job_not_started", "debug", "a claimed job is given back before a handler got it" },
	{ "output_lost", "warning", "what an ended handler had printed could not be read from the spool" },
	{ "late_result", "warning", "bytes of a handler that are not the result of their job are in unstuck.late_results; the reason says why" },
	{ "late_adopted", "info", "a late result was stored in its job" },
	{ "late_refused", "warning", "the database does not take it; its bytes stay" },
	{ "adopt_failed", "debug, warning", "it could not be stored now; again with recover_every" },
	{ "claim_lost", "warning", "somebody else ended or took a job that this worker held" },
	{ "result_not_stored", "error", "a result was lost: neither the database nor the disk took it before the worker ended" },
	{ "claim_failed", "error", "the database refused a claim; it is tried again" },
	{ "write_refused", "warning", "the database refused results for the moment; they are kept and tried again" },
	{ "write_failed", "error", "a row could not be written; it stays PROCESSING until it is released or recovered" },

	{ "handler_stderr", "info", "a line that a handler wrote to stderr" },
	{ "handler_stderr_limited", "warning", "a queue's handlers write more lines than stderr_rate; the rest is counted" },
	{ "handler_stderr_dropped", "warning", "how many lines were left out" },
	{ "handler_not_started", "error", "no process could be started; its queue waits a second" },
	{ "handler_started", "debug", "a serve process was started" },
	{ "handler_ended", "debug, warning", "a serve process ended: when it was asked to, or by itself (warning)" },
	{ "handler_killed", "warning", "a serve process was ended, with the jobs that it held" },
	{ "answer_ignored", "warning", "a line of a serve process that is no answer to a job it has" },
	{ "answer_odd", "warning", "an answer whose retry or delay could not be read; what was taken instead" },

	{ "worker_lost", "warning", "a silent worker was declared dead" },
	{ "recovered", "info, warning", "jobs of a queue were put back, or failed because it was too often" },
	{ "recover_failed", "warning, error", "a queue, or a row of it, could not be recovered" },
	{ "recover_note", "info", "something that unstuck-recover --every has to say" },
	{ "declared_dead", "warning", "this worker was declared dead, and goes on under a new id" },
	{ "register_failed", "error", "the worker could not register; it claims nothing until it can" },
	{ "beat_failed", "warning", "a heartbeat was refused; it is tried again" },
	{ "reconcile_failed", "warning", "what the database says this worker holds could not be read; again with the next beat" },

	{ "db_lost", "info, warning", "the connection to the database is lost, and why; handlers run on" },
	{ "db_back", "info", "it is there again" },
	{ "db_second_open", "info", "there is load: results take a second connection" },
	{ "db_second_closed", "info", "it is closed: the load is over, the first one is gone, or the settings allow one" },
	{ "db_second_failed", "debug, warning", "it could not be had, or was lost: the first one takes all; told once, then at debug" },

	{ "redis_connected", "debug", "the connection to Redis is there" },
	{ "redis_lost", "debug, warning", "it is lost, and why; the worker goes on without, queues with a rate wait" },
	{ "redis_back", "info", "it is there again" },
	{ "rate_held", "warning", "a queue with a rate starts nothing: Redis is away, or has lost its counts" },
	{ "rate_resumed", "info", "it starts jobs again" },

	{ "http_listening", "info", "the address of http listen is open" },
	{ "http_public", "warning", "it can be reached from other hosts, and asks for no password" },
	{ "http_accept_failed", "warning", "a connection could not be taken; it is tried again" },

	{ "spooled", "warning", "results wait for the database and are on the disk" },
	{ "spool_empty", "info", "the database has all of them" },
	{ "spool_low", "warning", "little room is left for the spool: nothing is claimed" },
	{ "spool_failed", "warning, error", "the spool cannot be written: nothing is claimed, results go to the database" },
	{ "spool_fine", "info", "the spool is well again, jobs are claimed" },
	{ "replayed", "info", "what dead workers of this host had left was stored" },
	{ "replay", "warning", "something out of the ordinary that was found there" },
	{ "replay_failed", "warning", "it could not be read or stored; it stays" },

	{ "log_reopen_failed", "error", "after USR1 the log file could not be opened; the old one is kept" },
	{ "log_rotate_failed", "error", "the log file could not be turned; it goes on in the same one" },
	{ .name = NULL },
};
