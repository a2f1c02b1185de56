#!/bin/sh
#
# recover_million.sh - how long a dry run takes over a table of a million rows
# with a hundred of them stuck, without an index on the status and with it.
#
#   tests/measure/recover_million.sh [ROWS] [STUCK]       programs from $UNSTUCK_BUILD or build/
set -eu

rows=${1:-1000000}
stuck=${2:-100}
here=$(cd "$(dirname "$0")/../.." && pwd)
recover=${UNSTUCK_BUILD:-$here/build}/unstuck-recover
dir=$(mktemp -d /tmp/unstuck-measure.XXXXXX)
trap 'sh "$here/scripts/pg.sh" stop "$dir/pg" >/dev/null 2>&1; rm -rf "$dir"' EXIT
chmod 755 "$dir"
url=$(sh "$here/scripts/pg.sh" start "$dir/pg")

sql() {
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$url" "$@"
}

sql -f "$here/sql/schema.sql" >/dev/null 2>&1
sql <<END
CREATE TABLE videos (id bigserial PRIMARY KEY, source_id text, analysis_status text, updated_at timestamp(0));
INSERT INTO videos (source_id, analysis_status, updated_at)
SELECT 'yt-' || i, CASE WHEN i % ($rows / $stuck) = 0 THEN 'PROCESSING' ELSE 'DONE' END,
       (now() AT TIME ZONE 'UTC') - interval '2 hours'
  FROM generate_series(1, $rows) i;
END
sql -c 'VACUUM ANALYZE videos'

# The middle one of five, in milliseconds.
middle() {
	for _ in 1 2 3 4 5; do
		a=$(date +%s%N)
		"$recover" -d "$url" --dry-run --json --table videos --status-column analysis_status \
			--processing PROCESSING --reset-to READY --timezone UTC >"$dir/report" 2>/dev/null
		echo $((($(date +%s%N) - a) / 100000))
	done | sort -n | sed -n '3s/\(.\)$/.\1/p'
}

echo "rows $rows, stuck $(sql -c "SELECT count(*) FROM videos WHERE analysis_status = 'PROCESSING'")"
echo "without an index on the status: $(middle) ms"
"$recover" -d "$url" --dry-run --json --table videos --status-column analysis_status \
	--processing PROCESSING --reset-to READY --timezone UTC 2>&1 >/dev/null | grep index | sed 's/^/  it says: /'
sql -c "CREATE INDEX ON videos (updated_at) WHERE analysis_status = 'PROCESSING'"
echo "with the one it recommends:     $(middle) ms"
grep -o '"stuck": [0-9]*' "$dir/report" | head -1
