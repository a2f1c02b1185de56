#!/bin/sh
#
# deps.sh [GROUP...] - install what packages.txt lists and this machine lacks.
#
# All groups by default. Elsewhere than on Debian and its relatives it names the
# packages and stops. No service is started by what is installed.
set -eu

list=$(dirname "$0")/../packages.txt
policy=/usr/sbin/policy-rc.d
mark="written by deps.sh of Unstuck while packages are installed"

die() {
	echo "deps: $*" >&2
	exit 1
}

packages() {
	if [ $# -eq 0 ]; then
		awk '!/^#/ && NF { print $2 }' "$list"
	else
		awk -v groups=" $* " '!/^#/ && NF && index(groups, " " $1 " ") { print $2 }' "$list"
	fi
}

missing() {
	for package; do
		if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
			printf '%s ' "$package"
		fi
	done
}

# Debian asks this script before it starts a service: 101 is no.
forbid_services() {
	if [ -e "$policy" ] && ! grep -q "$mark" "$policy"; then
		mv "$policy" "$policy.before-unstuck"
	fi
	printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
}

allow_services() {
	rm -f "$policy"
	if [ -e "$policy.before-unstuck" ]; then
		mv "$policy.before-unstuck" "$policy"
	fi
}

install_as_root() {
	trap allow_services EXIT
	trap 'exit 1' INT TERM HUP
	forbid_services
	export DEBIAN_FRONTEND=noninteractive
	# An old list may do; if it does not, the installation says what it could not find.
	quietly apt-get -o DPkg::Lock::Timeout=600 -q update ||
		echo "deps: apt-get update failed; trying with the lists that are there" >&2
	quietly apt-get -o DPkg::Lock::Timeout=600 -q -y --no-install-recommends install "$@"
}

# Hundreds of lines that nobody needs, unless it fails.
quietly() {
	said=$(mktemp)
	status=0
	"$@" </dev/null >"$said" 2>&1 || status=$?
	if [ "$status" != 0 ]; then
		cat "$said" >&2
	fi
	rm -f "$said"
	return "$status"
}

if [ "${1-}" = --as-root ]; then
	shift
	install_as_root "$@"
	exit
fi

wanted=$(packages "$@")
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
	echo "deps: this is no Debian; please install what these Debian packages hold, then add DEPS=no to make:" >&2
	# shellcheck disable=SC2086 # words
	echo "     " $wanted >&2
	exit 1
fi
# shellcheck disable=SC2086 # words
lacking=$(missing $wanted)
[ -n "$lacking" ] || exit 0

echo "deps: installing $lacking(a minute or two)"
# shellcheck disable=SC2086 # words
if [ "$(id -u)" = 0 ]; then
	sh "$0" --as-root $lacking
elif command -v sudo >/dev/null; then
	sudo sh "$(realpath "$0")" --as-root $lacking
else
	die "neither root nor sudo: please install $lacking"
fi
# shellcheck disable=SC2086 # words
lacking=$(missing $wanted)
[ -z "$lacking" ] || die "still missing: $lacking"
