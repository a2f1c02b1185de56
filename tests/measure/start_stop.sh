#!/bin/sh
#
# start_stop.sh - many starts and stops of a daemon that has work now and then: what is left behind, and how
# long a start, the first phase of a stop and an idle exit take.
#
#   tests/measure/start_stop.sh [CYCLES]       programs from $UNSTUCK_BUILD or build/
set -eu

cycles=${1:-1000}
here=$(cd "$(dirname "$0")/../.." && pwd)
worker=${UNSTUCK_BUILD:-$here/build}/unstuck-worker
dir=$(mktemp -d /tmp/unstuck-measure.XXXXXX)
trap 'sh "$here/scripts/pg.sh" stop "$dir/pg" >/dev/null 2>&1; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
chmod 755 "$dir"
url=$(sh "$here/scripts/pg.sh" start "$dir/pg")

sql() {
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$url" "$@"
}

# The name makes our processes known from those of others.
ln -s "$worker" "$dir/unstuck-measured"
sql -f "$here/sql/schema.sql" >/dev/null 2>&1
printf '[unstuck]\ndatabase_url = %s\n[queue mail]\nhandler = true\n' "$url" >"$dir/unstuck.ini"
mkdir "$dir/run"
cd "$dir/run"

i=0
while [ "$i" -lt "$cycles" ]; do
	i=$((i + 1))
	if [ $((i % 10)) = 0 ]; then
		sql -c "SELECT unstuck.enqueue('mail') FROM generate_series(1, 5)" >/dev/null
	fi
	a=$(date +%s%N)
	"$dir/unstuck-measured" run -c ../unstuck.ini --daemon --pidfile w.pid --log-file w.log
	b=$(date +%s%N)
	# Every tenth has had work; the others are idle, and measured from outside.
	if [ $((i % 10)) != 0 ]; then
		pid=$(cat w.pid)
		c=$(date +%s%N)
		kill "$pid"
		while [ -e w.pid ]; do :; done # the last thing that it does
		d=$(date +%s%N)
		stopping=$(sed -n 's/^\([^ ]*\) info event=stopping .*/\1/p' w.log | tail -n 1)
		echo "start $(((b - a) / 10000))"
		echo "exit $(((d - c) / 10000))"
		echo "phase $((($(date -d "$stopping" +%s%N) - c / 1000000 * 1000000) / 10000))"
	else
		"$dir/unstuck-measured" stop --quiet --pidfile w.pid
	fi
done >../times

# middle NAME, worst NAME: in milliseconds, of hundredths.
figures() {
	sed -n "s/^$1 //p" ../times | sort -n | awk -v what="$2" '
		{ v[NR] = $1 / 100 }
		END { printf "%-34s median %.2f ms, p99 %.2f ms, most %.2f ms (%d)\n", what, v[int((NR + 1) / 2)], v[int(NR * 0.99) + (NR < 100)], v[NR], NR }'
}

echo "$cycles cycles of run --daemon and stop"
figures start "start until ready"
figures phase "TERM to event=stopping (+-1 ms)"
figures exit "TERM until an idle worker has left"
echo "processes left:  $(pgrep -c -f "$dir/unstuck-measured" || :)"
echo "files left:      $(find . -type f ! -name w.log -o -type s | wc -l)"
echo "rows left:       $(sql -c "SELECT (SELECT count(*) FROM unstuck.workers) + (SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING')")"
echo "sessions left:   $(sql -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unstuck-worker'")"
echo "locks left:      $(sql -c "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")"
echo "shutdown reports: $(grep -c 'event=shutdown reason=signal.term' w.log)"
