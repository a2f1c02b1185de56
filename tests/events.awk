# events.awk - every event that C files log, with the levels it has anywhere: "job_released info, warning".
# A statement is a record; the name is the first text of its call.
BEGIN {
	RS = ";"
	levels = split("debug info warning error", level, " ")
}
match($0, /log_(event|write)\([^"]*"[a-z_]+"/) {
	call = substr($0, RSTART, RLENGTH)
	name = call
	sub(/^[^"]*"/, "", name)
	sub(/"$/, "", name)
	names[name] = 1
	for (i = 1; i <= levels; i++)
		if (index(call, "LOG_" toupper(level[i])))
			has[name, i] = 1
}
END {
	for (name in names) {
		found = ""
		for (i = 1; i <= levels; i++)
			if ((name, i) in has)
				found = found (found == "" ? "" : ", ") level[i]
		print name, found
	}
}
