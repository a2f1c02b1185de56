#!/bin/sh
#
# embed.sh PAGE - page.html as a C string, and the policy that lets its own scripts run and nothing else.
#
# Each script of the page begins behind a <script> that ends its line and ends before a </script> that begins one:
# what lies between is hashed as a browser does it.
set -eu

page=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v work="$work" '
	/<script/ {
		if (!/<script>$/) {
			print FILENAME ":" FNR ": a script begins with <script> at the end of a line" > "/dev/stderr"
			exit 1
		}
		file = work "/" ++n
		printf "\n" > file
		next
	}
	/^<\/script>/ { file = "" }
	file != "" { print > file }
' "$page"

policy="default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
scripts=
for script in "$work"/*; do
	[ -f "$script" ] || continue
	hash=$(sha256sum < "$script" | cut -c 1-64 | tr a-f A-F | basenc -d --base16 | base64)
	scripts="$scripts 'sha256-$hash'"
done
policy="$policy; script-src${scripts:- 'none'}"

echo '/* Made by worker/embed.sh from worker/page.html. Do not edit. */'
echo '#include "page.h"'
echo "const char page_policy[] = \"$policy\";"
echo 'const char page_html[] ='
awk '{ gsub(/\\/, "&&"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); print "\"" $0 "\\n\"" } END { print ";" }' "$page"
