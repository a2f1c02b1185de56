# embed.awk - sql/*.sql to one C file: each file whole, and each of its sections
# ("-- name: X" up to the next such line) without comments, blank lines and the last semicolon.
# usage: awk -f sql/embed.awk sql/*.sql > sqltext.c

function literal(line) {
	gsub(/\\/, "&&", line)
	gsub(/"/, "\\\"", line)
	gsub(/\t/, "\\t", line)
	return "\"" line "\\n\"\n"
}

function entry(name, text) {
	return "\t{ \"" file "\", " (name == "" ? "NULL" : "\"" name "\"") ",\n" (text == "" ? "\"\"\n" : text) "\t},\n"
}

function end_section() {
	if (section == "")
		return
	sub(/;\\n"\n$/, "\\n\"\n", body)
	parts = parts entry(section, body)
	section = body = ""
}

function end_file() {
	end_section()
	if (file != "")
		parts = parts entry("", whole)
	whole = ""
}

FNR == 1 {
	end_file()
	file = FILENAME
	sub(/^.*\//, "", file)
	sub(/\.sql$/, "", file)
}

{ whole = whole literal($0) }

/^-- name: / {
	end_section()
	section = $3
	next
}

section != "" && !/^[ \t]*(--.*)?$/ { body = body literal($0) }

END {
	end_file()
	print "/* Made by sql/embed.awk from the files of sql/. Do not edit. */"
	print "#include \"sqltext.h\""
	print "#include <stdio.h>"
	print "#include <stdlib.h>"
	print "#include <string.h>\n"
	print "static const struct {\n\tconst char *file, *name, *text;\n} texts[] = {"
	printf "%s};\n\n", parts
	print "const char *sqltext(const char *file, const char *name)\n{"
	print "\tfor (size_t i = 0; i < sizeof texts / sizeof *texts; i++)"
	print "\t\tif (strcmp(texts[i].file, file) == 0 && (name == NULL ? texts[i].name == NULL :"
	print "\t\t    texts[i].name != NULL && strcmp(texts[i].name, name) == 0))"
	print "\t\t\treturn texts[i].text;"
	print "\tfprintf(stderr, \"no SQL text %s/%s\\n\", file, name != NULL ? name : \"\");"
	print "\tabort();\n}"
}
