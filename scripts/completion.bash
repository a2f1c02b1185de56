# completion.bash - unstuck-worker, unstuck-recover and unstuckctl in bash.
# shellcheck shell=bash
#
# The programs know best what fits: each is told the line up to the cursor, and the end of it that is
# to be replaced. Needs bash 4.4; bash-completion, where it is there, loads this file when it is needed.

_unstuck()
{
	local program=${1/#\~\//"$HOME"/} answer

	COMPREPLY=()
	mapfile -t answer < <("$program" --complete <<<"${COMP_LINE:0:COMP_POINT}"$'\n'"$2" 2>/dev/null)
	if [ "${answer[0]-}" = files ]; then
		compopt -o default -o bashdefault 2>/dev/null
	else
		COMPREPLY=("${answer[@]:1}")
	fi
}

complete -F _unstuck unstuck-worker unstuck-recover unstuckctl
