package config

import (
	"math"
	"testing"
)

func TestSizeOf(t *testing.T) {
	tests := []struct {
		text  string
		total int64
		want  int64
	}{
		{"80%", 1000, 800},
		{"1%", 199, 1},
		{"95%", math.MaxInt64, math.MaxInt64/100*95 + 6},
		{"10KB", 5, 10000},
	}
	for _, tt := range tests {
		var s Size
		if err := s.UnmarshalText([]byte(tt.text)); err != nil {
			t.Fatal(err)
		}
		if got := s.Of(tt.total); got != tt.want {
			t.Errorf("Size(%s).Of(%d) = %d, want %d", tt.text, tt.total, got, tt.want)
		}
		if s.String() != tt.text {
			t.Errorf("Size(%s).String() = %s", tt.text, s)
		}
	}
	for _, text := range []string{"0%", "96%", "-1%", "%", "5.5%", "x%"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("Size(%q) = %v, want an error", text, s)
		}
	}
}
