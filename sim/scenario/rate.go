package scenario

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// A Rate is a number of bytes per second. It is written with a unit: bits, as networks are
// ("25Gb/s" is 25 x 10^9 bits, 3.125 x 10^9 bytes), or bytes ("3GB/s", "800MiB/s"). 0 needs none.
type Rate int64

// maxRate is more than any link carries, and leaves room to count bits in.
const maxRate Rate = 1e15

// A rateUnit is one name of a number of bits per second.
type rateUnit struct {
	name string
	bits int64
}

// rateUnits returns the units: bytes before bits, so that of two forms as short bytes are
// printed, and larger ones first.
func rateUnits() []rateUnit {
	return []rateUnit{
		{"TiB/s", 8 << 40},
		{"TB/s", 8e12},
		{"GiB/s", 8 << 30},
		{"GB/s", 8e9},
		{"MiB/s", 8 << 20},
		{"MB/s", 8e6},
		{"KiB/s", 8 << 10},
		{"KB/s", 8e3},
		{"B/s", 8},
		{"Tb/s", 1e12},
		{"Gb/s", 1e9},
		{"Mb/s", 1e6},
		{"Kb/s", 1e3},
		{"b/s", 1},
	}
}

// String returns the shortest exact form of r that UnmarshalText reads, without a fraction.
func (r Rate) String() string {
	if r == 0 {
		return "0B/s"
	}
	best := ""
	for _, u := range rateUnits() {
		if bits := int64(r) * 8; bits%u.bits == 0 {
			if s := strconv.FormatInt(bits/u.bits, 10) + u.name; best == "" || len(s) < len(best) {
				best = s
			}
		}
	}
	return best
}

// MarshalText returns String's text.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a number, with or without a fraction, and its unit.
func (r *Rate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "0" {
		*r = 0
		return nil
	}
	for _, u := range rateUnits() {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" {
			break
		}
		bytes := n * float64(u.bits) / 8
		switch {
		case bytes > float64(maxRate):
			return errors.New("more than any link carries; lower it")
		case bytes != math.Trunc(bytes):
			return errors.New("not a whole number of bytes per second; round it")
		}
		*r = Rate(bytes)
		return nil
	}
	return errors.New("not a rate; write it as 25Gb/s (bits) or 3GB/s (bytes)")
}
