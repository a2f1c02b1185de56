# man.awk - a page as scdoc writes it: its paragraph macros only before paragraphs, and each - one that can be copied.
#
# scdoc puts a .P before and behind everything. Here one is held until a paragraph follows, within or behind the
# indented block that it ends; behind a heading there is none. The title would turn hyphenation on again.

/^\.PP?$/ { held = !bare; next }
/^\.(SH|SS|TH)/ { held = 0; bare = 1; print; if (/^\.TH/) print ".nh"; next }
/^\.RE/ { print; next }
held { print ".P"; held = 0 }
!/^\./ { gsub(/-/, "\\-"); gsub(/\\\\-/, "\\-") }
{ bare = 0; print }
