package config

import "testing"

func TestExpand(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"$ZONE $ }", "$ZONE $ }"},
		{"${ZONE}", "rack-7"},
		{"a-${ZONE}-${ZONE}b", "a-rack-7-rack-7b"},
		{"${EMPTY}", ""},
		{"${EMPTY:-x}", "x"},
		{"${UNSET:-}", ""},
		{"${UNSET:-a:-b}", "a:-b"},
		{"${ZONE:-x}", "rack-7"},
		{"$${ZONE}", "${ZONE}"},
		{"$$${ZONE}", "$${ZONE}"},
		{"${TRICK}", "${ZONE}, # {x: y}"},
	}
	for _, tt := range tests {
		if got, err := expand(tt.text, environ); got != tt.want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"${UNSET}", "${", "${ZONE", "${}", "${A B}", "${1A}", "${:-x}", "${ZONE-x}"} {
		if got, err := expand(text, environ); err == nil {
			t.Errorf("expand(%q) = %q, want an error", text, got)
		}
	}
}
