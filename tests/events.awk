# events.awk - every event that C files log, with the levels it has anywhere: "job_released info, warning".
# A statement is a record; the name is the first text of its call, or one of two: cond ? "a" : "b".
BEGIN {
	RS = ";"
	levels = split("debug info warning error", level, " ")
}
match($0, /log_(event|write)\([^"]*"[a-z_]+"( : "[a-z_]+")?/) {
	call = substr($0, RSTART, RLENGTH)
	texts = split(call, text, "\"")
	for (k = 2; k <= texts; k += 2) {
		names[text[k]] = 1
		for (i = 1; i <= levels; i++)
			if (index(call, "LOG_" toupper(level[i])))
				has[text[k], i] = 1
	}
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
