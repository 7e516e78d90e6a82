package bound

import "testing"

func TestFanOut(t *testing.T) {
	tests := []struct {
		bytes, ufs, nic float64
		n               int
		want            float64
	}{
		{100e9, 10e9, 3.125e9, 1000, 32}, // policy.md §3.7, G12
		{10e9, 1e9, 3.125e9, 100, 10},
		{1e9, 10e9, 1e9, 1, 1},
		{1e9, 10e9, 1e9, 50, 1},
		{50e9, 1e9, 12.5e9, 10, 50},
		{7e9, 2e9, 1e9, 3, 7},
		{7e9, 5e9, 1e9, 2, 7},
		{200e9, 40e9, 2e9, 30, 100},
		{4e6, 1e9, 1e9, 1000, 0.004},
		{1e12, 10e9, 12.5e9, 10000, 100},
		{3e9, 30e9, 1e9, 20, 3},
		{140e9, 8e9, 1.25e9, 64, 112},
	}
	for _, tt := range tests {
		if got := FanOut(tt.bytes, tt.ufs, tt.nic, tt.n); !near(got, tt.want, 1e-12) {
			t.Errorf("FanOut(%v, %v, %v, %d) = %v, want %v", tt.bytes, tt.ufs, tt.nic, tt.n, got, tt.want)
		}
	}
}
