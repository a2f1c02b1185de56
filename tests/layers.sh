#!/bin/sh
#
# layers.sh - every #include goes to the same row or a lower one (docs/design.md,
# "Layers"), and no program includes another program's headers.
#
# A new file gets its row here: x stands for x.c and x.h, x* for all that begin so. The struct of a
# whole program (worker.h, run.h) lies below its parts, the code that drives them (worker.c, run.c) above.
set -eu
cd "$(dirname "$0")/.."

table='
0 common/version common/error common/clock common/buf common/crc32c common/log_syslog common/log_rotate common/redis_url common/failpoint
1 common/spool* common/inifile common/words common/ident common/log common/sqltext common/fragment common/resolve common/log_events common/progress common/late common/printed
2 common/setting* common/cli* common/pg common/catalog common/redis_dial
3 common/mapping* common/replay* common/adopt common/on_success
4 worker/db* worker/redis_link worker/batch worker/child* worker/launch* worker/job worker/queue worker/jsonl worker/outcome worker/answer worker/checks* worker/pidfile worker/shutdown worker/daemon worker/manage worker/control_address worker/page worker/attend worker/cgroup
5 worker/worker.h worker/control.h worker/control.c worker/announce worker/reload* worker/flood worker/notify worker/claim worker/line worker/keep worker/lanes worker/store* worker/presence worker/reconcile worker/handler worker/exec worker/serve worker/process worker/rescue worker/signals worker/redis.h worker/redis.c worker/rate* worker/live worker/http* worker/sse worker/metrics* worker/view* worker/state* worker/adoption worker/inherit
6 worker/worker.c
7 worker/main
4 recover/options recover/target* recover/lock recover/stop recover/watch recover/on_stuck
5 recover/run.h recover/stuck recover/reset recover/confirm recover/report* recover/command recover/tell recover/spools recover/adoption
6 recover/run.c recover/finish recover/schedule recover/nagios
7 recover/main
4 ctl/ctl ctl/table
5 ctl/change ctl/wake ctl/mapped ctl/screen ctl/top_view ctl/lates.h
6 ctl/*
7 ctl/main
'

grep '^#include "' common/*.[ch] worker/*.[ch] recover/*.[ch] ctl/*.[ch] | awk -v table="$table" '
	BEGIN {
		lines = split(table, line, "\n")
		for (i = 1; i <= lines; i++) {
			words = split(line[i], word, " ")
			for (k = 2; k <= words; k++)
				row[word[k]] = word[1]
		}
	}
	function complain(text) {
		if (!(text in told))
			print "layers: " text
		told[text] = 1
		bad = 1
	}
	# The row of "dir/name.h": by that, by dir/name, or by the longest dir/nam* that fits; "" for none.
	function row_of(file, name) {
		if (file in row)
			return row[file]
		name = file
		sub(/\.[ch]$/, "", name)
		if (name in row)
			return row[name]
		for (; name != ""; name = substr(name, 1, length(name) - 1))
			if ((name "*") in row)
				return row[name "*"]
		return ""
	}
	function there(file, found) {
		found = (getline line_of_it < file) >= 0
		close(file)
		return found
	}
	{
		file = $0
		sub(/:.*/, "", file)
		header = $0
		sub(/^[^"]*"/, "", header)
		sub(/".*/, "", header)
		dir = file
		sub(/\/.*/, "", dir)
		target = there(dir "/" header) ? dir "/" header : "common/" header
		if (row_of(file) == "")
			complain(file " has no row in tests/layers.sh")
		else if (!there(target))
			complain(file " includes " header ", which is neither beside it nor in common")
		else if (row_of(target) > row_of(file))
			complain(file " of row " row_of(file) " includes " target " of row " row_of(target))
		checked++
	}
	END {
		if (bad)
			exit 1
		print "layers: " checked " includes go down"
	}
'
