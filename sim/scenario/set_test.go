package scenario

import (
	"reflect"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	const text = `
version: 1
name: two
fleet: {nodes: 4, cache: 1GiB, slow: [{nodes: 1, share: 0.5}]}
datasets:
  - {name: a, files: 10, file: 4MiB}
  - {name: a.b, files: 10, file: 4MiB}
jobs:
  - {kind: epochs, dataset: a, epochs: 5, warmup_epochs: 2}
  - {kind: epochs, dataset: a}
  - {name: load, kind: stream, dataset: a.b}
`
	tests := []struct {
		key, value string
		same       string // what the file would have instead, of old to new
	}{
		{"fleet.nodes", "8", "nodes: 4|nodes: 8"},
		{"fleet.cache", "2TiB", "cache: 1GiB|cache: 2TiB"},
		{"fleet.nvme.read", "6GB/s", "cache: 1GiB|cache: 1GiB, nvme: {read: 6GB/s}"},
		{"fleet.costs.peer", "0.5", "cache: 1GiB|cache: 1GiB, costs: {peer: 0.5}"},
		{"fleet.slow[0].share", "1", "0.5|1"},
		{"fleet.slow", "[{nodes: all, share: 0.1}]", "[{nodes: 1, share: 0.5}]|[{nodes: all, share: 0.1}]"},
		{"fleet.slow", "[]", "slow: [{nodes: 1, share: 0.5}]|slow: []"},
		{"datasets.a.policy", "lru", "name: a,|name: a, policy: lru,"},
		{"datasets.a.b.policy", "lru", "name: a.b,|name: a.b, policy: lru,"},
		{"datasets[1].replicas.max", "3", "name: a.b,|name: a.b, replicas: {max: 3},"},
		{"jobs.a.epochs", "9", "epochs: 5|epochs: 9"},
		{"jobs.a-2.epochs", "1", "dataset: a}|dataset: a, epochs: 1}"},
		{"jobs.load.nodes", "0-1,3", `name: load,|name: load, nodes: "0-1,3",`},
		{"events", "[{at: 1s, crash: 3}]", "jobs:|events: [{at: 1s, crash: 3}]\njobs:"},
		{"expect", "[gpu > 0.5, ufs.share < 1%]", "jobs:|expect: [gpu > 0.5, ufs.share < 1%]\njobs:"},
		{"engine", "time", "jobs:|engine: time\njobs:"},
		{"about", "a: b # c", "jobs:|about: 'a: b # c'\njobs:"},
	}
	for _, tt := range tests {
		got, err := Parse("two.yaml", []byte(text), Setting{tt.key, tt.value})
		if err != nil {
			t.Errorf("%s=%s: %v", tt.key, tt.value, err)
			continue
		}
		before, after, _ := strings.Cut(tt.same, "|")
		changed := strings.Replace(text, before, after, 1)
		if changed == text && before != after {
			t.Fatalf("%s is not in the file", before)
		}
		want, err := Parse("two.yaml", []byte(changed))
		if err != nil {
			t.Errorf("%s=%s: its file: %v", tt.key, tt.value, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s=%s:\n%+v, want\n%+v", tt.key, tt.value, got, want)
		}
		checkRoundTrip(t, got)
	}
	// What the old elements of a list had is not taken for given in the new ones.
	if s, err := Parse("two.yaml", []byte(text), Setting{"jobs", "[{kind: zipf, dataset: a, reads: 7}]"}); err != nil || len(s.Jobs) != 1 || s.Jobs[0].Reads != 7 {
		t.Errorf("jobs=[...]: %+v, %v, want one job of 7 reads", s, err)
	}
	// One after the other, the last of a key counts, and a list may be changed once it is set.
	got, err := Parse("two.yaml", []byte(text), Setting{"fleet.nodes", "0"}, Setting{"fleet.nodes", "6"}, Setting{"fleet.slow", "[{nodes: 5, share: 1}]"}, Setting{"fleet.slow[0].share", "0.25"})
	if err != nil || got.Fleet.Nodes != 6 || len(got.Jobs[0].Nodes) != 6 || got.Fleet.Slow[0].Share != 0.25 {
		t.Errorf("four settings: %+v, %v, want 6 nodes and a share of 0.25", got, err)
	}
}

func TestSetRefuses(t *testing.T) {
	tests := []struct{ key, value, want string }{
		{"fleet.nodes", "0", `--set: fleet.nodes: "0": out of limits; give 1 to 60000`},
		{"fleet.nodes", "x", `--set: fleet.nodes: "x": not a whole number`},
		{"fleet.nodes", "", `--set: fleet.nodes: "": no value; write key=value`},
		{"fleet.cache", "1MiB", `--set: fleet.cache: "1MiB": impossible: cache of 1MiB holds no block of d (4MiB); raise fleet.cache`},
		{"fleet.nods", "1", `--set: fleet.nods: unknown key; did you mean "nodes"?`},
		{"nodes", "1", `--set: nodes: unknown key; remove it, the keys here are version, name, about, engine, seed, sample, duration, warmup, interval, fleet, datasets, jobs, events, expect`},
		{"", "1", `--set: unknown key; give a path, like fleet.nodes`},
		{"fleet", "1", `--set: fleet: "1": not a single value; set one of its keys: nodes, cache, spare, zones, directory, detect, costs, epsilon, nic, zone_link, nvme, ufs, slow`},
		{"fleet.nodes.x", "1", `--set: fleet.nodes.x: unknown key; fleet.nodes is a single value`},
		{"datasets.e.files", "1", `--set: datasets.e.files: unknown key; it has 1 elements, write datasets[0] for the first, or datasets. and one of the names d`},
		{"datasets[1].files", "1", `--set: datasets[1].files: unknown key; it has 1 elements, write datasets[0] for the first, or datasets. and one of the names d`},
		{"datasets[-1].files", "1", `--set: datasets[-1].files: unknown key; it has 1 elements, write datasets[0] for the first, or datasets. and one of the names d`},
		{"datasets.d", "1", `--set: datasets[0]: "1": not a single value; set one of its keys: name, files, file, file_max, read, policy, quota, replicas, forward, half_life`},
		{"datasets.d.fils", "1", `--set: datasets[0].fils: unknown key; did you mean "files"?`},
		{"events[0].at", "1s", `--set: events[0].at: unknown key; it has 0 elements, write events[0] for the first`},
		{"jobs.d.window", "3", `--set: jobs[0].window: "3": only jobs of kind windows have it; remove it`},
		{"expect", "[x", `--set: expect: not YAML: sequence end token ']' not found`},
		{"expect", "x", `--set: expect: not a list; write its elements on lines that begin with - or in [ ]`},
		{"expect", "[x]", `--set: expect[0]: "x": no expectation; write it as ufs.share < 0.01`},
		{"jobs", "[]", `--set: jobs: "": no job; write jobs: [{kind: epochs, dataset: imagenet}]`},
	}
	for _, tt := range tests {
		if _, err := Parse("tiny.yaml", []byte(minimal), Setting{tt.key, tt.value}); err == nil || err.Error() != tt.want {
			t.Errorf("%s=%s:\n%v, want\n%s", tt.key, tt.value, err, tt.want)
		}
	}
}

// TestHash holds the hash still: results of one version are compared by it.
func TestHash(t *testing.T) {
	hash := func(set ...Setting) string {
		t.Helper()
		s, err := Parse("tiny.yaml", []byte(minimal), set...)
		if err != nil {
			t.Fatal(err)
		}
		return Hash(s)
	}
	first := hash()
	if want := "1b76f4a4fd131d46"; first != want {
		t.Errorf("Hash(minimal) = %s, want %s", first, want)
	}
	for _, same := range []Setting{{"name", "other"}, {"about", "What?"}, {"fleet.nic", "3125MB/s"}, {"jobs[0].epochs", "3"}} {
		if got := hash(same); got != first {
			t.Errorf("Hash with %v = %s, want %s still", same, got, first)
		}
	}
	seen := map[string]Setting{first: {}}
	for _, other := range []Setting{
		{"seed", "2"},
		{"fleet.nodes", "5"},
		{"fleet.cache", "2GiB"},
		{"datasets.d.policy", "lru"},
		{"jobs[0].epochs", "4"},
		{"jobs[0].nodes", "0-1"},
		{"expect", "[gpu > 0]"},
		{"events", "[{at: 0s, crash: 1}]"},
		{"events", "[{at: 0s, drain: 1}]"},
		{"fleet.nvme.write", "1GB/s"},
	} {
		got := hash(other)
		if before, ok := seen[got]; ok {
			t.Errorf("Hash with %v = %s, as with %v", other, got, before)
		}
		seen[got] = other
	}
}
