package scenario

import (
	"reflect"
	"strings"
	"testing"
)

func TestRate(t *testing.T) {
	tests := []struct {
		text string
		want Rate
		back string // "" if it is the same
	}{
		{"0", 0, "0B/s"},
		{"0B/s", 0, ""},
		{"25Gb/s", 3_125_000_000, ""},
		{"3GB/s", 3_000_000_000, ""},
		{"1.5GB/s", 1_500_000_000, "12Gb/s"},
		{"800MiB/s", 800 << 20, ""},
		{" 1 TiB/s ", 1 << 40, "1TiB/s"},
		{"100Mb/s", 12_500_000, ""},
		{"8b/s", 1, "1B/s"},
		{"10GB/s", 10_000_000_000, ""},
		{"1Tb/s", 125_000_000_000, ""},
		{"7B/s", 7, ""},
		{"0.5KiB/s", 512, "512B/s"},
		{"1000TB/s", maxRate, ""},
	}
	for _, tt := range tests {
		var r Rate
		if err := r.UnmarshalText([]byte(tt.text)); err != nil || r != tt.want {
			t.Errorf("Rate(%q) = %d, %v, want %d", tt.text, r, err, tt.want)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		if r.String() != tt.back {
			t.Errorf("Rate(%q).String() = %s, want %s", tt.text, r, tt.back)
		}
	}
	for text, cause := range map[string]string{
		"":            "not a rate",
		"25":          "not a rate", // bits or bytes?
		"25G":         "not a rate",
		"25Gbps":      "not a rate",
		"25Gib/s":     "not a rate",
		"-1GB/s":      "not a rate",
		"1e3GB/s":     "not a rate",
		"infGB/s":     "not a rate",
		"GB/s":        "not a rate",
		"1b/s":        "whole number of bytes",
		"1.0001KB/s":  "whole number of bytes",
		"1001TB/s":    "more than any link",
		"9999999Tb/s": "more than any link",
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("Rate(%q) = %v, %v, want the error %q", text, r, err, cause)
		}
	}
}

func TestNodes(t *testing.T) {
	tests := []struct {
		text string
		want Nodes
		back string
	}{
		{"3", Nodes{3}, "3"},
		{"0-7,9", Nodes{0, 1, 2, 3, 4, 5, 6, 7, 9}, "0-7,9"},
		{"9, 1-2,2-4 ,1", Nodes{1, 2, 3, 4, 9}, "1-4,9"},
		{"5-5", Nodes{5}, "5"},
		{"59999", Nodes{59999}, "59999"},
		{"all", Nodes{everyNode}, "all"},
	}
	for _, tt := range tests {
		var n Nodes
		if err := n.UnmarshalText([]byte(tt.text)); err != nil || !reflect.DeepEqual(n, tt.want) {
			t.Errorf("Nodes(%q) = %v, %v, want %v", tt.text, []int(n), err, []int(tt.want))
		}
		if n.String() != tt.back {
			t.Errorf("Nodes(%q).String() = %s, want %s", tt.text, n, tt.back)
		}
	}
	for _, text := range []string{"", "a", "-1", "1-", "-", "1,,2", "4-2", "60000", "0-99999999999", "1 2", "all,1", "0x1"} {
		n := Nodes{8}
		if err := n.UnmarshalText([]byte(text)); err == nil || n.String() != "8" {
			t.Errorf("Nodes(%q) = %v, %v, want an error, and 8 left as it was", text, n, err)
		}
	}
	if got := (Nodes{everyNode}).resolved(3); !reflect.DeepEqual(got, Nodes{0, 1, 2}) {
		t.Errorf("all of 3 nodes = %v, want 0-2", got)
	}
	if got := Nodes(nil).String(); got != "" {
		t.Errorf("Nodes(nil).String() = %q, want nothing", got)
	}
}

func TestExpectation(t *testing.T) {
	tests := []struct {
		text   string
		metric string
		op     string
		value  float64
		back   string
	}{
		{"ufs.share < 0.01", "ufs.share", "<", 0.01, "ufs.share < 0.01"},
		{"evictions.last_lost==0", "evictions.last_lost", "==", 0, "evictions.last_lost == 0"},
		{"gpu >= 90%", "gpu", ">=", 0.9, "gpu >= 90%"},
		{"jobs.a/b-1.stall_seconds <= 1m30s", "jobs.a/b-1.stall_seconds", "<=", 90, "jobs.a/b-1.stall_seconds <= 1m30s"},
		{" network.ufs_bytes>64MiB ", "network.ufs_bytes", ">", 64 << 20, "network.ufs_bytes > 64MiB"},
		{"bound.distance != -1e-3", "bound.distance", "!=", -0.001, "bound.distance != -1e-3"},
		{"intervals[3].alive == 8", "intervals[3].alive", "==", 8, "intervals[3].alive == 8"},
	}
	for _, tt := range tests {
		var e Expectation
		if err := e.UnmarshalText([]byte(tt.text)); err != nil {
			t.Errorf("Expectation(%q): %v", tt.text, err)
			continue
		}
		if e.Metric != tt.metric || e.Op != tt.op || e.Value != tt.value || e.String() != tt.back {
			t.Errorf("Expectation(%q) = %q %q %v, printed %q, want %q %q %v, %q", tt.text, e.Metric, e.Op, e.Value, e, tt.metric, tt.op, tt.value, tt.back)
		}
	}
	if got := (Expectation{Metric: "gpu", Op: ">", Value: 0.25}).String(); got != "gpu > 0.25" {
		t.Errorf("an Expectation that was not read prints %q, want gpu > 0.25", got)
	}
	for text, cause := range map[string]string{
		"":                   "no expectation",
		"ufs.share":          "no expectation",
		"< 1":                "no metric",
		"ufs share < 1":      "no metric",
		"ufs.share = 1":      "no operator",
		"ufs.share ! 1":      "no operator",
		"ufs.share <":        "no number",
		"ufs.share <> 1":     "no number",
		"ufs.share < x":      "no number",
		"ufs.share < NaN":    "no number",
		"ufs.share < inf%":   "no number",
		"ufs.share < 1 furl": "no number",
	} {
		var e Expectation
		if err := e.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("Expectation(%q) = %v, %v, want the error %q", text, e, err, cause)
		}
	}
}

func TestExpectationHolds(t *testing.T) {
	for op, want := range map[string][3]bool{ // of 1, 2 and 3, where 2 is expected
		"<":  {true, false, false},
		"<=": {true, true, false},
		">":  {false, false, true},
		">=": {false, true, true},
		"==": {false, true, false},
		"!=": {true, false, true},
		"":   {false, false, false},
	} {
		e := Expectation{Op: op, Value: 2}
		if got := [3]bool{e.Holds(1), e.Holds(2), e.Holds(3)}; got != want {
			t.Errorf("Holds of %q = %v, want %v", op, got, want)
		}
	}
}
