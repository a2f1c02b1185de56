#!/bin/sh
#
# demo.sh - the main job from end to end, on real files, with nothing set up before.
#
#   DEMO_DIR    directories whose files are the jobs (default: some that every system has)
#   DEMO_FILES  how many files (default 300)
#   DEMO_DELAY  seconds that each job sleeps, in place of an expensive call (default 0.15)
#   BUILD       where the programs are (default build)
#
# Everything lives in one directory under /tmp, which is removed at the end.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
bin=${BUILD:-build}
case $bin in
/*) ;;
*) bin=$root/$bin ;;
esac
DEMO_DIR=${DEMO_DIR:-/usr/share/common-licenses /usr/include /usr/share/doc}
DEMO_FILES=${DEMO_FILES:-300}
DEMO_DELAY=${DEMO_DELAY:-0.15}
export DEMO_DELAY

dir='' worker='' began=$(date +%s)

# ---- the screen ----

bold='' dim='' plain='' on_terminal=
if [ -t 1 ]; then
	on_terminal=yes
	if [ -z "${NO_COLOR:-}" ]; then
		bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
	fi
fi

headline() {
	printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

say() {
	printf '%s\n' "$*" | fold -s -w 78 | sed 's/ *$//'
}

# Show a command as one would type it.
command_line() {
	printf '%s$ %s%s\n' "$dim" "$*" "$plain"
}

# Show it and run it.
run() {
	command_line "$@"
	"$@"
}

die() {
	echo "demo: $*" >&2
	if [ -s worker.log ]; then
		echo "demo: the last lines of the worker's log:" >&2
		tail -n 5 worker.log >&2
	fi
	exit 1
}

# ---- the database ----

sql() {
	psql "$DATABASE_URL" -X -q -A -t -P pager=off -v ON_ERROR_STOP=1 -c "$1"
}

# A table for people.
table() {
	psql "$DATABASE_URL" -X -q -P footer=off -P pager=off -v ON_ERROR_STOP=1 -c "$1"
}

done_count() {
	sql "select count(*) from videos where analysis_status in ('VIDEO_ANALYSIS_COMPLETED', 'ANALYSIS_FAILED')"
}

statuses() {
	table "select analysis_status, count(*) from videos group by 1 order by 1"
}

# ---- the worker ----

# Its log goes to worker.log, as the settings say.
start_worker() {
	command_line unstuck-worker run "$@" "&"
	unstuck-worker run "$@" </dev/null &
	worker=$!
}

# The worker's exit status, into $status.
wait_for_worker() {
	status=0
	wait "$worker" 2>/dev/null || status=$?
	worker=
}

bar() {	# done, total
	width=40
	filled=$(($1 * width / $2))
	printf '\r  [%-*s] %d of %d jobs ' "$width" "$(printf '%*s' "$filled" '' | tr ' ' '#')" "$1" "$2"
}

# Show the progress until so many jobs are done. The worker must be there all the while, or have drained.
progress() {	# target
	shown=-1
	before=-1
	while :; do
		n=$(done_count)
		[ "$n" = "$before" ] || moved=$(date +%s) before=$n
		[ $(($(date +%s) - moved)) -lt 30 ] || die "no job was finished for 30 s"
		if [ -n "$on_terminal" ]; then
			bar "$n" "$total"
		elif [ $((n * 10 / total)) -gt "$shown" ]; then
			shown=$((n * 10 / total))
			echo "  $((n * 100 / total))% ($n of $total jobs)"
		fi
		[ "$n" -lt "$1" ] || break
		kill -0 "$worker" 2>/dev/null || break
		sleep 0.2
	done
	[ -z "$on_terminal" ] || echo
}

# ---- the end, whichever way it comes ----

cleanup() {
	trap - EXIT INT TERM HUP
	if [ -n "$worker" ]; then
		# The second TERM skips the time that running jobs are given.
		kill -TERM "$worker" 2>/dev/null || :
		sleep 0.2
		kill -TERM "$worker" 2>/dev/null || :
		wait "$worker" 2>/dev/null || :
	fi
	if [ -n "$dir" ]; then
		sh "$root/scripts/pg.sh" stop "$dir/pg" || :
		cd / && rm -rf "$dir"
	fi
}

interrupted() {
	echo
	cleanup
	exit 130
}

# ---- the story ----

prepare() {
	for program in unstuck-worker unstuck-recover unstuckctl; do
		[ -x "$bin/$program" ] || die "$bin/$program is not there: run make first"
	done
	for program in psql file; do
		command -v "$program" >/dev/null || die "$program is not there: run make deps first"
	done
	# What the user's shell has set for other servers and workers stays out.
	for name in $(env | sed -n 's/^\(PG[A-Z]*\|UNSTUCK_[A-Z_]*\)=.*/\1/p'); do
		unset "$name"
	done
	PATH=$bin:$PATH
	dir=$(mktemp -d /tmp/unstuck-demo.XXXXXX)
	chmod 711 "$dir"
	cd "$dir"
}

start_database() {
	headline "A private PostgreSQL in $dir"
	DATABASE_URL=$(sh "$root/scripts/pg.sh" start --until $$ "$dir/pg")
	export DATABASE_URL
	command_line "export DATABASE_URL='$DATABASE_URL'"
	run unstuckctl init
}

create_table() {
	headline "The application's own table, filled with files of this machine"
	sql "
	create table videos (
	  id              bigint generated always as identity primary key,
	  source_id       text not null,
	  title           text,
	  priority        int not null default 0,
	  analysis_status text not null default 'METADATA_EXTRACTED',
	  updated_at      timestamp not null default (now() at time zone 'UTC'));
	create index on videos (analysis_status, priority desc, id);
	-- No unique key on video_id: a result stored twice would be seen here.
	create table analysis_results (
	  id            bigint generated always as identity primary key,
	  video_id      bigint not null references videos (id),
	  bytes         bigint, sha256 text, mime text, lines bigint, short_summary text);"
	# Names with backslashes, tabs or newlines would need quoting for COPY; there are enough others.
	# shellcheck disable=SC2086 # several directories
	find $DEMO_DIR -type f -size -1024k -readable ! -path '*[\\[:cntrl:]]*' 2>/dev/null |
		LC_ALL=C sort -u | head -n "$DEMO_FILES" |
		psql "$DATABASE_URL" -X -q -v ON_ERROR_STOP=1 -c '\copy videos (source_id) from pstdin'
	sql "update videos set title = regexp_replace(source_id, '.*/', ''), priority = id % 3;
	     analyze videos"
	total=$(sql 'select count(*) from videos')
	[ "$total" -gt 0 ] || die "no readable files in $DEMO_DIR"
	table "select id, source_id, priority, analysis_status from videos order by id limit 3"
	say "$total rows."
}

write_settings() {
	cat >unstuck.ini <<-END
		[unstuck]
		log_file = worker.log

		[worker]
		concurrency    = 4
		heartbeat      = 1s
		worker_timeout = 3s      ; silent for so long: suspected dead (default 60s)

		[queue videos]
		table      = public.videos
		id         = id
		status     = analysis_status
		ready      = METADATA_EXTRACTED METADATA_EXTRACTING
		processing = PROCESSING
		done       = VIDEO_ANALYSIS_COMPLETED
		failed     = ANALYSIS_FAILED
		reset_to   = METADATA_EXTRACTING
		updated_at = updated_at
		timezone   = UTC
		order_by   = priority DESC, id
		payload    = source_id
		show       = title
		handler    = "$root/examples/inspect-file"
		env        = DEMO_DELAY
		on_success = INSERT INTO analysis_results (video_id, bytes, sha256, mime, lines, short_summary)
		             SELECT \$1, r.bytes, r.sha256, r.mime, r.lines, r.short_summary
		             FROM jsonb_to_record(\$2) AS r(bytes bigint, sha256 text, mime text, lines bigint,
		                                           short_summary text)
	END
	headline "The settings: which column means what, and what to run for a row"
	run cat unstuck.ini
	run unstuck-worker check
}

stop_with_term() {
	headline "Work; then a deploy: TERM in the middle"
	start_worker
	progress $((total * 3 / 10))
	command_line "kill -TERM $worker"
	kill -TERM "$worker"
	wait_for_worker
	say "It ended with status $status. Its last log line:"
	grep 'event=shutdown' worker.log | tail -n 1 | tr ' ' '\n' | paste -s -d ' ' | fold -s -w 74 | sed 's/^/    /; s/ *$//'
	statuses
	left=$(sql "select count(*) from videos where analysis_status = 'PROCESSING'")
	[ "$left" = 0 ] || die "$left rows are still PROCESSING after TERM"
	say "0 rows are PROCESSING: what ran was finished, what had not started was given back."
}

kill_in_the_middle() {
	headline "Work on; then the worst case: KILL"
	start_worker
	progress $((total * 6 / 10))
	command_line "kill -KILL $worker"
	kill -KILL "$worker"
	wait_for_worker
	statuses
	say "Nobody works on the PROCESSING rows any more. Without a recovery they stay so for ever."
}

recover() {
	headline "Recover: first look, then do"
	# A fact to wait for: the dead worker has been silent for worker_timeout.
	for _ in $(seq 100); do
		silent=$(sql "select count(*) from unstuck.workers where beat_at < now() - make_interval(secs => timeout_s)")
		[ "$silent" = 0 ] || break
		sleep 0.2
	done
	run unstuck-recover --dry-run
	run unstuck-recover --yes
	statuses
}

drain() {
	headline "Work until nothing is left"
	start_worker --drain
	progress "$total"
	wait_for_worker
	[ "$status" = 0 ] || die "the worker ended with status $status"
	table "select v.source_id, r.mime, r.lines, left(r.sha256, 12) as sha256
	         from videos v join analysis_results r on r.video_id = v.id order by v.id limit 3"
}

verdict() {
	headline "The count"
	table "
	select (select count(*) from videos) as jobs,
	       (select count(*) from videos where analysis_status = 'VIDEO_ANALYSIS_COMPLETED') as completed,
	       (select count(*) from videos where analysis_status = 'ANALYSIS_FAILED') as failed,
	       (select count(*) from analysis_results) as results,
	       (select count(*) - count(distinct video_id) from analysis_results) as duplicates,
	       (select count(*) from videos v where analysis_status <> 'ANALYSIS_FAILED'
	           and not exists (select from analysis_results r where r.video_id = v.id)) as lost"
	starts=$(sql "select sum(attempts) from unstuck.claims")
	say "Handlers were started $starts times for $total jobs: those that were running at the KILL ran again, and each job has one result."
	bad=$(sql "select (select count(*) - count(distinct video_id) from analysis_results)
	                + (select count(*) from videos v where analysis_status <> 'ANALYSIS_FAILED'
	                     and not exists (select from analysis_results r where r.video_id = v.id))")
	[ "$bad" = 0 ] || die "duplicates or lost results"
}

farewell() {
	headline "Done in $(($(date +%s) - began)) s. Nothing is left running."
	say "Next: README.md, \"Your own table\" - the same with your columns and your program."
}

trap cleanup EXIT
trap interrupted INT TERM HUP
prepare
start_database
create_table
write_settings
stop_with_term
kill_in_the_middle
recover
drain
verdict
cleanup
farewell
