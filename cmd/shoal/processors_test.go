package main

import "testing"

func TestProcessors(t *testing.T) {
	for _, c := range []struct {
		name        string
		cpus, now   int
		environment string
		want        int
	}{
		{"one CPU", 1, 1, "", 2},
		{"two CPUs", 2, 2, "", 4},
		{"twelve CPUs", 12, 12, "", 16},
		{"as many as are enough", 16, 16, "", 0},
		{"a large machine", 192, 192, "", 0},
		{"the environment says so", 2, 2, "2", 0},
		{"the environment says three", 2, 3, "3", 0},
		{"a limit of CPU", 64, 4, "", 0},
	} {
		if got := processors(c.cpus, c.now, c.environment); got != c.want {
			t.Errorf("%s: %d processors, want %d", c.name, got, c.want)
		}
	}
}
