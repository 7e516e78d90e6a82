package scenario

import (
	"strings"
	"testing"
)

// TestLimits tries the first and the last value of every limit, and those beyond.
func TestLimits(t *testing.T) {
	const text = `
version: 1
name: limits
fleet: {nodes: 4, cache: 1GiB, slow: [{nodes: 1, share: 0.5}]}
datasets: [{name: d, files: 1, file: 1MiB}]
jobs:
  - {name: e, kind: epochs, dataset: d}
  - {name: w, kind: windows, dataset: d}
  - {name: s, kind: stream, dataset: d, versions: 2, every: 1s}
  - {name: z, kind: zipf, dataset: d, reads: 1}
events: [{at: 0s, rolling: 0-1, every: 1s, down: 1s}]
`
	long := strings.Repeat("n", 63)
	tests := []struct {
		key       string
		good, bad []string
	}{
		{"version", []string{"1"}, []string{"0", "2"}},
		{"name", []string{"x", strings.Repeat("ü", 63)}, []string{strings.Repeat("ü", 64), "a\nb"}},
		{"about", []string{strings.Repeat("x", 1000)}, []string{"a\x00"}},
		{"engine", []string{"reads", "time"}, []string{"Reads", "both"}},
		{"seed", []string{"0", "18446744073709551615"}, []string{"-1", "18446744073709551616"}},
		{"sample", []string{"1", "0.01"}, []string{"0.0000999", "1.001", "0"}},
		{"duration", []string{"0s", "1ns", "8760h"}, []string{"-1s", "8761h"}},
		{"warmup", []string{"0s", "8760h"}, []string{"-1s", "8761h"}},
		{"interval", []string{"0s", "1ms", "8760h"}, []string{"999us", "-1s", "8761h"}},
		{"fleet.nodes", []string{"2", "60000"}, []string{"0", "-1", "60001"}},
		{"fleet.cache", []string{"1MiB", "1PiB"}, []string{"1048575B", "2PiB", "0"}},
		{"fleet.spare", []string{"0", "0.5"}, []string{"-0.1", "0.51"}},
		{"fleet.zones", []string{"1", "4"}, []string{"0", "5"}},
		{"fleet.directory", []string{"0s", "1h"}, []string{"-1ns", "61m"}},
		{"fleet.detect", []string{"0s", "1h"}, []string{"-1ns", "61m"}},
		{"fleet.costs.peer", []string{"0.02", "0.8"}, []string{"0.019", "0.81"}},
		{"fleet.costs.zone", []string{"0.1", "0.8"}, []string{"0.09", "0.81"}},
		{"fleet.epsilon", []string{"0.001", "1"}, []string{"0.0009", "1.1"}},
		{"fleet.nic", []string{"1B/s"}, []string{"0"}},
		{"fleet.zone_link", []string{"0", "1B/s"}, []string{"-1B/s"}},
		{"fleet.nvme.read", []string{"1B/s"}, []string{"0"}},
		{"fleet.nvme.write", []string{"1B/s"}, []string{"0"}},
		{"fleet.ufs.bandwidth", []string{"1B/s"}, []string{"0"}},
		{"fleet.ufs.latency", []string{"0s", "1m"}, []string{"-1s", "61s"}},
		{"fleet.ufs.requests", []string{"0", "0.5", "1e9"}, []string{"-1", "1e10"}},
		{"fleet.slow[0].nodes", []string{"0", "3", "all"}, []string{"4"}},
		{"fleet.slow", []string{"[]", "[{nodes: 1, share: 1}, {nodes: 2, share: 1}]"}, []string{"[{nodes: 1, share: 1}, {nodes: 0-1, share: 1}]"}},
		{"fleet.slow[0].share", []string{"0.001", "1"}, []string{"0", "1.1", "-1"}},
		{"datasets[0].files", []string{"1", "2147483647"}, []string{"0", "-1", "2147483648"}}, // two versions
		{"datasets[0].file", []string{"1B", "1GiB"}, []string{"0", "2PiB"}},
		{"datasets[0].file_max", []string{"0", "1MiB", "4MiB"}, []string{"1MB", "5MiB"}},
		{"datasets[0].read", []string{"0", "1B", "1MiB"}, []string{"2MiB"}},
		{"datasets[0].policy", []string{"auto", "uniform", "lru", "lfu", "sieve", "gdsf"}, []string{"fifo"}},
		{"datasets[0].quota", []string{"0", "1MiB", "1PiB"}, []string{"1MB", "2PiB"}},
		{"datasets[0].replicas.min", []string{"1", "3"}, []string{"0", "4"}},
		{"datasets[0].replicas.max", []string{"1", "6", "unlimited"}, []string{"0", "7"}},
		{"datasets[0].forward", []string{"0", "64KiB", "16GiB"}, []string{"63KiB", "17GiB"}},
		{"datasets[0].half_life", []string{"1s", "8760h"}, []string{"999ms", "8761h"}},
		{"jobs.e.name", []string{"x", "a/b.c_d-0", long}, []string{"a b", "ü", long + "n"}},
		{"jobs.e.nodes", []string{"0", "0-3", "all"}, []string{"4", "3-4"}},
		{"jobs.e.ranks", []string{"1", "256"}, []string{"0", "257"}},
		{"jobs.e.start", []string{"0s", "8760h"}, []string{"-1s", "8761h"}},
		{"jobs.e.jitter", []string{"0s", "8760h"}, []string{"-1s", "8761h"}},
		{"jobs.e.rate", []string{"0.001", "1e9"}, []string{"0", "-1", "1.1e9"}},
		{"jobs.e.prefetch", []string{"0", "1024"}, []string{"-1", "1025"}},
		{"jobs.e.step", []string{"0", "1000000000"}, []string{"-1", "1000000001"}},
		{"jobs.e.epochs", []string{"1", "100000"}, []string{"0", "100001"}},
		{"jobs.e.warmup_epochs", []string{"0", "3"}, []string{"-1", "4"}},
		{"jobs.e.shared", []string{"true", "false"}, []string{"True", "0"}},
		{"jobs.w.window", []string{"1", "4096"}, []string{"0", "4097"}},
		{"jobs.s.versions", []string{"1", "10000"}, []string{"0", "10001"}},
		{"jobs.s.every", []string{"1ns", "8760h"}, []string{"0s", "-1s", "8761h"}},
		{"jobs.z.reads", []string{"1", "1000000000000"}, []string{"0", "1000000000001"}},
		{"jobs.z.skew", []string{"0", "3"}, []string{"-0.1", "3.1"}},
		{"jobs.z.drift", []string{"0", "1e9"}, []string{"-0.1", "1.1e9"}},
		{"events[0].at", []string{"0s", "8759h"}, []string{"-1s", "8761h"}},
		{"events[0].every", []string{"1ns", "8760h"}, []string{"0s", "-1s", "8761h"}},
		{"events[0].down", []string{"1ns", "8760h"}, []string{"0s", "-1s", "8761h"}},
		{"events[0].rolling", []string{"0", "all"}, []string{"4"}},
	}
	for _, tt := range tests {
		for _, value := range tt.good {
			if _, err := Parse("limits.yaml", []byte(text), Setting{tt.key, value}); err != nil {
				t.Errorf("%s=%s: %v, want no error", tt.key, value, err)
			}
		}
		for _, value := range tt.bad {
			_, err := Parse("limits.yaml", []byte(text), Setting{tt.key, value})
			if err == nil || !strings.Contains(err.Error(), "--set: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s=%s: %v, want one violation of the setting", tt.key, value, err)
			}
		}
	}
}
