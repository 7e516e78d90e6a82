package trace

import (
	"bytes"
	"math/bits"
	"time"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// parseUint reads a number of digits alone, and reports whether b is one of 64 bits.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	x := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		high, low := bits.Mul64(x, 10)
		sum, carry := bits.Add64(low, uint64(c-'0'), 0)
		if high|carry != 0 {
			return 0, false
		}
		x = sum
	}
	return x, true
}

// parseTime reads a number of this unit, with or without a fraction, as microseconds.
func parseTime(b []byte, unit time.Duration) (int64, bool) {
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	x, ok := parseUint(whole)
	if !ok {
		return 0, false
	}
	perUnit, perMicro := uint64(1), uint64(1)
	if unit >= time.Microsecond {
		perUnit = uint64(unit / time.Microsecond)
	} else {
		perMicro = uint64(time.Microsecond / unit)
	}
	high, t := bits.Mul64(x, perUnit)
	if high != 0 || t > uint64(maxTime) {
		return 0, false
	}
	t /= perMicro
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, false
		}
		perUnit /= 10 // what a digit here stands for, in microseconds
		t += uint64(c-'0') * perUnit
	}
	return int64(t), true
}

// parseID returns the number that b is, or if it is none its hash.
func parseID(b []byte) uint64 {
	if x, ok := parseUint(b); ok {
		return x
	}
	// FNV-1a, with its bits scattered by the finalizer of MurmurHash3: names that differ in
	// their last letters have hashes that differ everywhere.
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// opOf returns what the operation called word does. Case does not matter.
func opOf(word []byte) (op live.Op, isDeletion, ok bool) {
	var lower [8]byte
	if len(word) > len(lower) {
		return 0, false, false
	}
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(word)]) {
	case "r", "read", "get", "gets", "head":
		return live.Read, false, true
	case "w", "write", "put", "set", "add", "update", "replace", "cas", "append", "prepend", "incr", "decr":
		return live.Write, false, true
	case "d", "delete", "del", "remove":
		return 0, true, true
	}
	return 0, false, false
}
