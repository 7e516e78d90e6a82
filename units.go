package shoal

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a number of bytes, written with a unit: "64MiB" is 64 x 2^20 bytes, "64MB"
// is 64 x 10^6. The units are B, KB to PB and KiB to PiB; no unit means bytes.
type Bytes int64

// A unit is one name of a number of bytes.
type unit struct {
	name string
	size int64
}

// units returns the units, larger before smaller, so that the first one that divides a
// number gives its shortest exact form.
func units() []unit {
	return []unit{
		{"PiB", 1 << 50},
		{"PB", 1e15},
		{"TiB", 1 << 40},
		{"TB", 1e12},
		{"GiB", 1 << 30},
		{"GB", 1e9},
		{"MiB", 1 << 20},
		{"MB", 1e6},
		{"KiB", 1 << 10},
		{"KB", 1e3},
		{"B", 1},
	}
}

// String returns the shortest exact form of b that UnmarshalText reads.
func (b Bytes) String() string {
	if b == 0 {
		return "0B"
	}
	for _, u := range units() {
		if int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return ""
}

// MarshalText returns String's text.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a number, with or without a fraction, and its unit.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	size := int64(1)
	for _, u := range units() {
		if n := len(s) - len(u.name); n > 0 && strings.EqualFold(s[n:], u.name) {
			s, size = strings.TrimSpace(s[:n]), u.size
			break
		}
	}
	n, err := parseNumber(s, size)
	if err != nil {
		return err
	}
	*b = Bytes(n)
	return nil
}

// parseNumber returns the number s times size. Whole numbers are exact.
func parseNumber(s string, size int64) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, errors.New("not a size; write it as 64MiB or 512GB")
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n <= math.MaxInt64/size {
		return n * size, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errors.New("not a size; write it as 64MiB or 512GB")
	}
	if f *= float64(size); f < math.MaxInt64 {
		return int64(f), nil
	}
	return 0, errors.New("larger than any disk; lower it")
}

// A Limit is a count that may be without an end.
type Limit int64

// Unlimited is the Limit without an end.
const Unlimited Limit = 0

// String returns the text UnmarshalText reads.
func (l Limit) String() string {
	if l == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(int64(l), 10)
}

// MarshalText returns String's text.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a positive number or the word "unlimited".
func (l *Limit) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*l = Unlimited
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("not a count; give a positive number or %q", "unlimited")
	}
	*l = Limit(n)
	return nil
}
