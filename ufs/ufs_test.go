package ufs_test

import (
	"errors"
	"io/fs"
	"math"
	"testing"

	"github.com/shoal-mesh/shoal/ufs"
)

func TestCheckName(t *testing.T) {
	tests := []struct {
		name string
		ok   bool
	}{
		{"", true},
		{"a", true},
		{"a/b.c", true},
		{"...", true},
		{"..a/b..", true},
		{"caf\xe9", true}, // Latin-1: a NAS has such names
		{"new\nline", true},
		{".", false},
		{"..", false},
		{"a/../b", false},
		{"a/./b", false},
		{"../a", false},
		{"/", false},
		{"/a", false},
		{"a/", false},
		{"a//b", false},
		{"a\x00b", false},
	}
	for _, tt := range tests {
		err := ufs.CheckName(tt.name)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, fs.ErrInvalid)) {
			t.Errorf("CheckName(%q) = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

func TestCheckRange(t *testing.T) {
	tests := []struct {
		off, length, size int64
		ok                bool
	}{
		{0, 0, 0, true},
		{0, 10, 10, true},
		{10, 0, 10, true},
		{3, 7, 10, true},
		{3, 8, 10, false},
		{11, 0, 10, false},
		{-1, 1, 10, false},
		{0, -1, 10, false},
		{5, math.MaxInt64, 10, false},
	}
	for _, tt := range tests {
		err := ufs.CheckRange(tt.off, tt.length, tt.size)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, fs.ErrInvalid)) {
			t.Errorf("CheckRange(%d, %d, %d) = %v, want ok %v", tt.off, tt.length, tt.size, err, tt.ok)
		}
	}
}
