#!/usr/bin/env python3
"""A handler for both modes: mode = exec (one job, payload on stdin) and mode = serve (JSON lines)."""
import json
import os
import sys


def work(payload):
    """The work itself: a payload in, a result out. Raise to fail the job."""
    return {"echo": payload}


def exec_mode():
    print(json.dumps(work(json.load(sys.stdin))))


def serve_mode():
    for line in sys.stdin:  # EOF: the worker asks us to finish
        job = json.loads(line)
        try:
            answer = {"id": job["id"], "ok": True, "result": work(job["payload"])}
        except Exception as error:  # "retry": False would fail it for good
            answer = {"id": job["id"], "ok": False, "error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    # Only in exec mode is the job in the environment.
    exec_mode() if "UNSTUCK_JOB_ID" in os.environ else serve_mode()
