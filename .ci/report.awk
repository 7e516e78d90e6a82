# Reads what `go test -v` prints. Shows a line for each package, all that a failed package
# said, and at the end every test that was skipped, with its reason, for a skip must be
# seen, and every test that failed, with the last lines it wrote. Exits 1 if anything failed.

# How many those are, and how long.
BEGIN {
	most = 6
	long = 300
}

# The test that speaks from here on.
/^ *=== (RUN|NAME|CONT|PAUSE) / {
	speaker = $3
	next
}

# A line a test wrote: "    file_test.go:12: text". The last one before it skips is why. A log of
# what it ran comes last and says less than what it found wrong.
/^ +[A-Za-z0-9_.-]+\.go:[0-9]+: / && !/: log of / {
	said[speaker] = $0
	sub(/^ +/, "", said[speaker])
	spoken[speaker, ++times[speaker]] = substr(said[speaker], 1, long)
}

/^ *--- SKIP: / {
	skipped[++skips] = $3
	next
}

/^ *--- PASS: / { passed++ }
/^ *--- FAIL: / { failed[++failures] = $3 }

/^ok  / || /^FAIL\t/ || /^\?   / {
	if ($1 == "FAIL") {
		for (i = 1; i <= lines; i++) print line[i]
		bad = 1
	}
	while (named < skips) {
		name = skipped[++named]
		skipped[named] = $2 " " name ": " (name in said ? said[name] : "no reason given")
	}
	while (placed < failures) {
		name = failed[++placed]
		failed[placed] = $2 " " name
		for (i = max(1, times[name] - most + 1); i <= times[name]; i++) failed[placed] = failed[placed] "\n       " spoken[name, i]
	}
	if ($1 != "?") print
	fflush()
	lines = 0
	split("", said)
	split("", spoken)
	split("", times)
	next
}

/^go test: failed$/ { bad = 1; next }

/^(=== |PASS$|FAIL$|coverage:| *--- PASS)/ { next }

{ line[++lines] = $0 }

END {
	for (i = 1; i <= lines; i++) print line[i] # what no package's end has shown
	if (skips) print "\nSKIPPED " skips " of " passed + skips + failures " tests:"
	for (i = 1; i <= skips; i++) print "  SKIP " skipped[i]
	if (failures) print "\nFAILED " failures ":"
	for (i = 1; i <= failures; i++) print "  FAIL " failed[i]
	print "\n" passed + 0 " passed, " skips + 0 " skipped, " failures + 0 " failed" (bad && !failures ? ", and a package did not run" : "")
	exit bad
}

function max(a, b) { return a > b ? a : b }
