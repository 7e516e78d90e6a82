package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/shoal-mesh/shoal/sim/result"
)

// none stands for a number that there is not.
const none = "-"

// size returns n bytes with three digits, in units of 1,024.
func size(n float64) string {
	return scaled(n, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// count returns n: whole up to 999,999, in millions and more beyond.
func count(n float64) string {
	if math.Abs(n) < 1e6 {
		return commas(int64(n))
	}
	return scaled(n/1e6, 1000, []string{"M", "G", "T", "P", "E"})
}

// scaled returns n in the largest unit of which it has one.
func scaled(n, step float64, units []string) string {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return none
	}
	i := 0
	for math.Abs(n) >= step && i < len(units)-1 {
		n, i = n/step, i+1
	}
	return digits(n) + " " + units[i]
}

// digits returns f with three digits, or more if it has more before the point.
func digits(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return none
	case a >= 1e6:
		return strconv.FormatFloat(f, 'g', 3, 64)
	case f == math.Trunc(f) && a < 1000, a >= 99.95:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a >= 0.0995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// commas returns n in groups of three digits.
func commas(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// share returns f, a share of a whole, in per cent. What is not none is not said to be none,
// and what is not all is not said to be all.
func share(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return none
	case f > 0 && f < 0.0005:
		return "<0.1 %"
	case f > 0.9995 && f < 1:
		return ">99.9 %"
	case math.Abs(f) >= 10:
		return digits(f*100) + " %"
	}
	return strconv.FormatFloat(f*100+0, 'f', 1, 64) + " %"
}

// points returns f, the difference of two shares, in percentage points.
func points(f float64) string {
	if math.Abs(f) >= 10 || math.IsNaN(f) {
		return digits(f*100) + " pp"
	}
	return strconv.FormatFloat(f*100+0, 'f', 1, 64) + " pp"
}

// factor returns how many times.
func factor(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return none
	case math.Abs(f) >= 1e4:
		return digits(f) + "×"
	}
	return strconv.FormatFloat(f, 'f', 2, 64) + "×"
}

// seconds returns s in the units of a clock, or with three digits if it is short.
func seconds(s float64) string {
	sign := ""
	if s < 0 {
		sign, s = "-", -s
	}
	n := int64(math.Round(min(s, 1e9)))
	part := func(n int64, unit string) string { return strconv.FormatInt(n, 10) + unit }
	switch {
	case math.IsNaN(s) || math.IsInf(s, 0):
		return none
	case s == 0:
		return "0 s"
	case s < 1e-3:
		return sign + digits(s*1e6) + " µs"
	case s < 1:
		return sign + digits(s*1e3) + " ms"
	case n < 120:
		return sign + digits(s) + " s"
	case n < 3600:
		return sign + part(n/60, "m") + " " + part(n%60, "s")
	case n < 48*3600:
		return sign + part(n/3600, "h") + " " + part(n/60%60, "m")
	case s > 1e9:
		return sign + digits(s/86400) + "d"
	}
	return sign + part(n/86400, "d") + " " + part(n/3600%24, "h")
}

// value returns f in unit.
func value(f float64, unit result.Unit) string {
	switch unit {
	case result.Share:
		return share(f)
	case result.Factor:
		return factor(f)
	case result.Bytes:
		return size(f)
	case result.Seconds:
		return seconds(f)
	}
	return count(f)
}

// plainLines is plain for a text of several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return strings.Join(lines, "\n")
}

// plain returns s for a terminal: what a terminal would obey, or nobody would see, is "?".
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
