package config

import (
	"errors"
	"strconv"
	"strings"

	"github.com/shoal-mesh/shoal"
)

// Size is how much of a disk may be used: a number of bytes, or else a share of the
// file system's size in percent.
type Size struct {
	Bytes   shoal.Bytes
	Percent int // 0 when Bytes counts
}

// Of returns the size in bytes on a file system of total bytes.
func (s Size) Of(total int64) int64 {
	if s.Percent == 0 {
		return int64(s.Bytes)
	}
	// In two steps, so that a large total does not overflow.
	return total/100*int64(s.Percent) + total%100*int64(s.Percent)/100
}

// String returns the text UnmarshalText reads.
func (s Size) String() string {
	if s.Percent == 0 {
		return s.Bytes.String()
	}
	return strconv.Itoa(s.Percent) + "%"
}

// MarshalText returns String's text.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads bytes as shoal.Bytes does, or a whole number of percent.
func (s *Size) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	if !ok {
		*s = Size{}
		return s.Bytes.UnmarshalText(text)
	}
	percent, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || percent < 1 || percent > 95 {
		return errors.New("not a share of the disk; give a whole number from 1% to 95%")
	}
	*s = Size{Percent: percent}
	return nil
}
