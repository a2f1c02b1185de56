#!/bin/sh
# A handler for both modes: mode = exec (one job, payload on stdin) and mode = serve (JSON lines).
# The worker writes the members of a line in a fixed order, payload last, so no JSON parser is needed
# to pass it on; with jq at hand: id=$(printf %s "$line" | jq .id).

# The work itself: the payload's JSON text in $1, the result's JSON text on stdout. A status other than 0 fails the job.
work() {
	printf '{"echo": %s}' "$1"
}

if [ -n "${UNSTUCK_JOB_ID-}" ]; then # only in exec mode is the job in the environment
	work "$(cat)"
	exit
fi
while IFS= read -r line; do # EOF: the worker asks us to finish
	id=${line#*:}                # the rest behind {"id":
	id=${id%%,\"queue\":*}       # with its quotes
	payload=${line#*,\"payload\":}
	payload=${payload%?}         # without the closing brace
	if result=$(work "$payload"); then
		printf '{"id":%s,"ok":true,"result":%s}\n' "$id" "$result"
	else
		printf '{"id":%s,"ok":false,"error":"status %s"}\n' "$id" $?
	fi
done
