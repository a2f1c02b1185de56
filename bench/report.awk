# report.awk - the table for people on stdout, and bench.json, from the samples of a run.
#
# A line is: work, case, who, measure, unit, round, value. The ratio is Unstuck's value by the floor's of the same
# round; its median is what counts, because what else the machine did then hit both.

function sorted(text, list,    n, i, k, t) {
	n = split(text, list, " ")
	for (i = 2; i <= n; i++)
		for (k = i; k > 1 && list[k - 1] + 0 > list[k] + 0; k--) {
			t = list[k]
			list[k] = list[k - 1]
			list[k - 1] = t
		}
	return n
}

function median(text,    list, n) {
	n = sorted(text, list)
	return n % 2 ? list[(n + 1) / 2] + 0 : (list[n / 2] + list[n / 2 + 1]) / 2
}

function smallest(text,    list) {
	sorted(text, list)
	return list[1] + 0
}

function largest(text,    list, n) {
	n = sorted(text, list)
	return list[n] + 0
}

# Four digits that count, no more.
function short(x) {
	return x >= 1000 || x <= -1000 ? sprintf("%.0f", x) : x >= 100 ? sprintf("%.1f", x) : sprintf("%.3f", x)
}

function stats(text) {
	return sprintf("{\"median\": %.4f, \"min\": %.4f, \"max\": %.4f}", median(text), smallest(text), largest(text))
}

function told(text) {
	return text == "" ? "" : short(median(text)) " (" short(smallest(text)) "-" short(largest(text)) ")"
}

{
	key = $1 "\t" $2 "\t" $4 "\t" $5
	if (!(key in known)) {
		known[key] = 1
		order[++keys] = key
	}
	all[key, $3] = all[key, $3] " " $7
	at[key, $3, $6] = $7
	if ($6 > last)
		last = $6
}

END {
	printf "{\n  \"version\": \"%s\", \"postgresql\": \"%s\", \"cores\": %d, \"scale\": %s, \"rounds\": %d, \"seconds\": %d, \"load\": \"%s\",\n",
		version, server, cores, scale, rounds, seconds, load > json
	printf "  \"skipped\": [" > json
	while ((getline line < skipped) > 0) {
		split(line, word, "\t")
		printf "%s{\"work\": \"%s\", \"why\": \"%s\"}", comma, word[1], word[2] > json
		notes = notes word[1] ": skipped: " word[2] "\n"
		comma = ", "
	}
	printf "],\n  \"results\": [" > json
	printf "%-2s %-26s %-16s %-10s %-30s %-30s %s\n", "", "work", "measure", "unit", "Unstuck: median (range)", "floor", "ratio"
	for (i = 1; i <= keys; i++) {
		key = order[i]
		split(key, word, "\t")
		ratios = ""
		for (round = 1; round <= last; round++)
			if (at[key, "floor", round] + 0 != 0 && (key, "unstuck", round) in at)
				ratios = ratios " " at[key, "unstuck", round] / at[key, "floor", round]
		printf "%-2s %-26s %-16s %-10s %-30s %-30s %s\n", word[1], word[2], word[3], word[4], told(all[key, "unstuck"]),
			told(all[key, "floor"]), ratios == "" ? "" : sprintf("%.2f (%.2f-%.2f)", median(ratios), smallest(ratios), largest(ratios))
		printf "%s\n    {\"work\": \"%s\", \"case\": \"%s\", \"measure\": \"%s\", \"unit\": \"%s\", \"unstuck\": %s, \"floor\": %s, \"ratio\": %s}",
			(i > 1 ? "," : ""), word[1], word[2], word[3], word[4],
			all[key, "unstuck"] == "" ? "null" : stats(all[key, "unstuck"]),
			all[key, "floor"] == "" ? "null" : stats(all[key, "floor"]), ratios == "" ? "null" : stats(ratios) > json
	}
	print "\n  ]\n}" > json
	printf "%s%d rounds each after a warm-up, scale %s, %d s, load %s; written to %s\n", notes, rounds, scale, seconds, load, json
}
