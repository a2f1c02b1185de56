#!/bin/sh
#
# pg.sh - a private PostgreSQL: its own directory, a unix socket in it, nothing else.
#
#   pg.sh start [--until PID] DIR [postgres options]
#                         make it when DIR is new, start it, print its URL;
#                         --until: stop and remove it when that process is gone
#   pg.sh run DIR [postgres options]
#                         the same in the foreground: ends when its parent ends
#   pg.sh halt DIR [smart|fast|immediate]      stop it, keep the data
#   pg.sh restart DIR [smart|fast|immediate]   with the options it was started with
#   pg.sh stop DIR        stop it at once and remove DIR
#
# As root the server runs as postgres, or as nobody where there is no such user,
# which has to reach DIR: take one under /tmp. fsync is off: for demos and tests.
set -eu

die() {
	echo "pg.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '3,15s/^# \{0,1\}//p' "$0" >&2
	exit 64
}

# The newest server that is installed.
find_bin() {
	path=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$path" ] || path=$(command -v postgres) || die "no PostgreSQL server found: run make deps"
	dirname "$path"
}

# Words to put before a command so that it does not run as root.
as_server_user() {
	if [ "$(id -u)" != 0 ]; then
		echo "setpriv"
	elif id postgres >/dev/null 2>&1; then
		echo "setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all --reset-env"
	else
		echo "setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --reset-env"
	fi
}

ours() {
	[ -f "$dir/data/PG_VERSION" ]
}

running() {
	$as "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1
}

# The words of --auth and the settings file keep TCP and other users out.
make_server() {
	if [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
		die "$dir is not empty"
	fi
	mkdir -p "$dir"
	if [ "$(id -u)" = 0 ]; then
		chown "$($as id -u):$($as id -g)" "$dir"
	fi
	chmod 700 "$dir"
	$as test -w "$dir" || die "$dir cannot be reached by the server's user: take one under /tmp"

	if ! $as "$bin/initdb" -D "$dir/data" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8 \
	    >"$dir/initdb.log" 2>&1; then
		cat "$dir/initdb.log" >&2
		rm -rf "$dir"
		die "initdb failed"
	fi
	rm -f "$dir/initdb.log"
	cat >>"$dir/data/postgresql.conf" <<-END
		listen_addresses = ''
		port = 5432
		unix_socket_directories = '$dir'
		fsync = off
		full_page_writes = off
		shared_buffers = 32MB
	END
}

start() {
	ours || make_server
	# Its output goes to a file: a server that keeps the caller's pipe open hangs the caller.
	if ! running && ! $as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -s -l "$dir/log" -o "$*" start \
	    </dev/null >/dev/null 2>&1; then
		tail -n 20 "$dir/log" >&2
		die "the server in $dir did not start"
	fi
	if [ -n "$until" ]; then
		# shellcheck disable=SC2016 # the inner shell expands these
		setsid sh -c 'tail --pid="$1" -f /dev/null; exec sh "$2" stop "$3"' \
			sh "$until" "$self" "$dir" </dev/null >/dev/null 2>&1 &
	fi
	echo "postgresql:///postgres?host=$dir&user=postgres"
}

run() {
	ours || make_server
	# shellcheck disable=SC2086 # words
	exec $as --pdeathsig QUIT "$bin/postgres" -D "$dir/data" "$@" </dev/null >>"$dir/log" 2>&1
}

halt() {
	if ours && running; then
		$as "$bin/pg_ctl" -D "$dir/data" -w -s -m "${1:-fast}" stop </dev/null
	fi
}

restart() {
	ours || die "no server of ours in $dir"
	$as "$bin/pg_ctl" -D "$dir/data" -w -s -l "$dir/log" -m "${1:-fast}" restart </dev/null >/dev/null
}

[ $# -ge 2 ] || usage
self=$(realpath "$0")
verb=$1
shift
until=
if [ "$1" = --until ] && [ "$verb" = start ] && [ $# -ge 3 ]; then
	until=$2
	shift 2
fi
dir=$(realpath -m "$1")
shift

case $dir in
*[!A-Za-z0-9._/-]*) die "$dir: letters, digits and ._/- only, please" ;;
esac
# A socket's path holds 107 bytes.
[ ${#dir} -le 92 ] || die "$dir is too long for a unix socket: take one under /tmp"

# What the user's shell has set for another server must not reach this one.
for name in $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p'); do
	unset "$name"
done
bin=$(find_bin)
as=$(as_server_user)
# The server's user may have no right to the directory that we were called in.
cd /

case $verb in
start) start "$@" ;;
run) run "$@" ;;
halt) halt "$@" ;;
restart) restart "$@" ;;
stop)
	halt immediate
	if ours; then
		rm -rf "$dir"
	fi
	;;
*) usage ;;
esac
