/*
 * serve.h - mode = serve: persistent handler processes that speak JSON lines.
 *
 *            waiting            one process: up to `pipeline` jobs
 *   claim --> CLAIMED --given--> RUNNING --answer--> ENDED
 *                 \                \--the process ends--> ENDED (failed, or released when we ended it)
 *                  \--stop, or nobody had room for a second--> ENDED (released, no attempt counted)
 *
 * Not here: one process and its answers (process.c), the text of the lines (jsonl.c), what an outcome
 * is made of (outcome.c).
 */
#ifndef SERVE_H
#define SERVE_H

#include "handler.h"

extern const struct handler serve_handler;

#endif
