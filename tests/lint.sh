#!/bin/sh
#
# lint.sh COMPILER-FLAGS... - clang-tidy over the C files (.clang-tidy says what
# it looks for), sh -n and shellcheck over the scripts. Silent where all is well.
set -eu
cd "$(dirname "$0")/.."
status=0

scripts=$(find . \( -path ./build -o -path ./.git \) -prune -o -type f -print |
	while read -r file; do
		case $file in
		*.sh | *.bash) echo "$file" ;;
		*.*) ;;
		*) head -c 64 "$file" | head -n 1 | grep -a -q -E '^#!.*[/ ](ba)?sh( |$)' && echo "$file" ;;
		esac
	done || :) # the last file may be no script
for script in $scripts ./.ci/run; do
	case $(head -n 1 "$script") in
	*bash*) bash -n "$script" || status=1 ;;
	*) sh -n "$script" || status=1 ;;
	esac
	shellcheck "$script" || status=1
done

# The first lines that clang-tidy says ("12 warnings generated") are about system headers.
TIDY_FLAGS=$*
export TIDY_FLAGS
# shellcheck disable=SC2016 # the inner shell expands these
find common worker recover ctl scripts bench tests examples -name '*.c' -print0 |
	xargs -0 -P "$(nproc)" -n 4 sh -c '
		said=$(clang-tidy --quiet "$@" -- $TIDY_FLAGS 2>&1) && exit 0
		echo "$said" | grep -a -v -E "warnings? generated|^Suppressed|^Use -header-filter"
		exit 1' clang-tidy || status=1
exit $status
