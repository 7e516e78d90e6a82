package shoal

import (
	"testing"
	"testing/quick"
)

func TestBytesText(t *testing.T) {
	tests := []struct {
		text string
		want Bytes
		back string // String of it
	}{
		{"0", 0, "0B"},
		{"1", 1, "1B"},
		{"2TiB", 2 << 40, "2TiB"},
		{"64MiB", 64 << 20, "64MiB"},
		{" 64 mib ", 64 << 20, "64MiB"},
		{"512GB", 512e9, "512GB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"1000KB", 1e6, "1MB"},
		{"7B", 7, "7B"},
		{"8191PiB", 8191 << 50, "8191PiB"},
	}
	for _, tt := range tests {
		var got Bytes
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("Bytes(%q) = %d, %v, want %d", tt.text, got, err, tt.want)
		}
		if got.String() != tt.back {
			t.Errorf("Bytes(%q).String() = %s, want %s", tt.text, got, tt.back)
		}
	}
}

func TestBytesRefuses(t *testing.T) {
	for _, text := range []string{"", "B", "MiB", "-1", "1 potato", "64M", "1e3", "0x10", "1.2.3", "NaN", "Inf", "9000PiB", "99999999999999999999", "9223372036854775808"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("Bytes(%q) = %d, want an error", text, b)
		}
	}
}

func TestBytesRoundTrip(t *testing.T) {
	roundTrip := func(n int64) bool {
		if n < 0 {
			n = -(n + 1)
		}
		var b Bytes
		return b.UnmarshalText([]byte(Bytes(n).String())) == nil && int64(b) == n
	}
	if err := quick.Check(roundTrip, nil); err != nil {
		t.Error(err)
	}
}
