package scenario

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-mesh/shoal"
)

// An Expectation is an assertion on the result of a run: "ufs.share < 0.01", "stall <= 30s". It is
// a metric, an operator and a number, which may be in percent, or have the unit of a duration or
// a size. docs/simulator.md lists the metrics; result.Judge tells what became of it.
type Expectation struct {
	Metric string  // the path of a value in a Result, like "warm.ufs.share"
	Op     string  // "<", "<=", ">", ">=", "==" or "!="
	Value  float64 // a share for percent; seconds; bytes
	number string  // Value as it was written
}

// String returns the text that UnmarshalText reads.
func (e Expectation) String() string {
	number := e.number
	if number == "" {
		number = strconv.FormatFloat(e.Value, 'g', -1, 64)
	}
	return e.Metric + " " + e.Op + " " + number
}

// MarshalText returns String's text.
func (e Expectation) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a metric, an operator and a number.
func (e *Expectation) UnmarshalText(text []byte) error {
	s := string(text)
	begin := strings.IndexAny(s, "<>=!")
	if begin < 0 {
		return errors.New("no expectation; write it as ufs.share < 0.01")
	}
	end := begin + 1
	if end < len(s) && s[end] == '=' {
		end++
	}
	read := Expectation{Metric: strings.TrimSpace(s[:begin]), Op: s[begin:end], number: strings.TrimSpace(s[end:])}
	if read.Metric == "" || strings.Trim(read.Metric, nameCharacters+"[]") != "" {
		return errors.New("no metric before the operator; write it as ufs.share < 0.01")
	}
	if !slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, read.Op) {
		return errors.New("no operator; use <, <=, >, >=, == or !=")
	}
	value, ok := parseAmount(read.number)
	if !ok {
		return errors.New("no number after the operator; write 0.01, 1%, 30s or 64MiB")
	}
	read.Value = value
	*e = read
	return nil
}

// Holds reports whether got is as expected.
func (e Expectation) Holds(got float64) bool {
	switch e.Op {
	case "<":
		return got < e.Value
	case "<=":
		return got <= e.Value
	case ">":
		return got > e.Value
	case ">=":
		return got >= e.Value
	case "==":
		return got == e.Value
	case "!=":
		return got != e.Value
	}
	return false
}

// parseAmount returns the number that s says: percent as a share, a duration in seconds, a size
// in bytes.
func parseAmount(s string) (float64, bool) {
	if number, percent := strings.CutSuffix(s, "%"); percent {
		f, ok := parseFloat(strings.TrimSpace(number))
		return f / 100, ok
	}
	if f, ok := parseFloat(s); ok {
		return f, true
	}
	if d, err := time.ParseDuration(s); err == nil {
		return d.Seconds(), true
	}
	var b shoal.Bytes
	if err := b.UnmarshalText([]byte(s)); err == nil {
		return float64(b), true
	}
	return 0, false
}

// parseFloat returns the finite number s.
func parseFloat(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}
