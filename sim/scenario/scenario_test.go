package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoal-mesh/shoal"
)

const minimal = `
version: 1
name: tiny
fleet: {nodes: 4, cache: 1GiB}
datasets: [{name: d, files: 10, file: 4MiB}]
jobs: [{kind: epochs, dataset: d}]
`

func TestParseFillsDefaults(t *testing.T) {
	got, err := Parse("tiny.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := &Scenario{
		Version: 1, Name: "tiny", Engine: Reads, Seed: 1, Sample: 1,
		Fleet: Fleet{
			Nodes: 4, Cache: 1 << 30, Zones: 1,
			Directory: 100 * time.Millisecond, Detect: 6 * time.Second,
			Costs: Costs{Peer: 0.1, Zone: 0.3}, Epsilon: 0.05,
			NIC: 3_125_000_000, NVMe: NVMe{Read: 3e9, Write: 1.5e9},
			UFS: UFS{Bandwidth: 10e9, Latency: 20 * time.Millisecond},
		},
		Datasets: []Dataset{{
			Name: "d", Files: 10, File: 4 << 20, Policy: "auto", HalfLife: 10 * time.Minute,
			Replicas: Replicas{Min: 1, Max: shoal.Unlimited, Classes: true},
		}},
		Jobs: []Job{{
			Name: "d", Kind: Epochs, Dataset: "d", Nodes: Nodes{0, 1, 2, 3}, Ranks: 1, Rate: 100, Prefetch: 16,
			Epochs: 3, WarmupEpochs: 1, Shared: true,
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse(minimal) =\n%+v, want\n%+v", got, want)
	}
	checkRoundTrip(t, got)
}

// everything sets each key to something other than its default.
const everything = `
version: 1
name: everything
about: 'Is "all" of it: read?'
engine: time
seed: 18446744073709551615
duration: 2h
warmup: 1m
interval: 500ms
fleet:
  nodes: 10
  cache: 1.5TB
  spare: 0.1
  zones: 2
  directory: 1s
  detect: 0s
  costs: {peer: 0.4}
  epsilon: 0.1
  nic: 100Gb/s
  zone_link: 40Gb/s
  nvme: {read: 6GB/s, write: 800MiB/s}
  ufs: {bandwidth: 1GB/s, latency: 5ms, requests: 5500}
  slow:
    - {nodes: "1,4-5", share: 0.5}
    - {nodes: 0, share: 1}
datasets:
  - {name: images/v1.2, files: 100, file: 1KiB, file_max: 1MiB, read: 512B, policy: lru, quota: 1GiB, half_life: 1h}
  - {name: models, files: 3, file: 100GB, forward: 64MiB, replicas: {min: 2, max: 3}}
  - {name: raw, files: 3, file: 1MiB, replicas: {classes: false}}
jobs:
  - {name: train, kind: epochs, dataset: images/v1.2, nodes: 0-3, ranks: 8, start: 1m, jitter: 5s, rate: 12.5, prefetch: 0, step: 10, epochs: 7, warmup_epochs: 0, shared: false}
  - {kind: windows, dataset: images/v1.2, epochs: 1, window: 16}
  - {kind: windows, dataset: raw, shared: true}
  - {kind: stream, dataset: models, versions: 4, every: 10m, random: true}
  - {kind: write, dataset: models, nodes: all, versions: 2, every: 1h}
  - {kind: zipf, dataset: raw, reads: 1000, skew: 0, drift: 1.5}
  - {kind: trace, trace: "a: b.trace", format: oracleGeneral}
  - {kind: trace, dataset: raw, trace: 'true'}
events:
  - {rolling: 0-1, every: 1s, down: 3s}
  - {at: 10s, crash: "2,5"}
  - {at: 20s, restart: 5}
  - {at: 30s, drain: 9}
  - {at: 30s, restart: "2,9", empty: true}
expect: ["ufs.share < 1%", "jobs.models-2.stall <= 30s", jobs.images/v1.2-2.gpu > 0, datasets.no.such.reads == 0]
`

func TestParseEverything(t *testing.T) {
	got, err := Parse("everything.yaml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, got)
	all := Nodes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	want := []Job{
		{Name: "train", Kind: Epochs, Dataset: "images/v1.2", Nodes: Nodes{0, 1, 2, 3}, Ranks: 8, Start: time.Minute, Jitter: 5 * time.Second, Rate: 12.5, Step: 10, Epochs: 7},
		{Name: "images/v1.2-2", Kind: Windows, Dataset: "images/v1.2", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Epochs: 1, Shared: true, Window: 16},
		{Name: "raw", Kind: Windows, Dataset: "raw", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Epochs: 3, WarmupEpochs: 1, Shared: true, Window: 8},
		{Name: "models", Kind: Stream, Dataset: "models", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Versions: 4, Every: 10 * time.Minute, Random: true},
		{Name: "models-2", Kind: Write, Dataset: "models", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Versions: 2, Every: time.Hour},
		{Name: "raw-2", Kind: Zipf, Dataset: "raw", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Reads: 1000, Drift: 1.5},
		{Name: "trace", Kind: Trace, Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Trace: "a: b.trace", Format: "oracleGeneral"},
		{Name: "raw-3", Kind: Trace, Dataset: "raw", Nodes: all, Ranks: 1, Rate: 100, Prefetch: 16, Trace: "true"},
	}
	for i := range want {
		if !reflect.DeepEqual(got.Jobs[i], want[i]) {
			t.Errorf("jobs[%d] =\n%+v, want\n%+v", i, got.Jobs[i], want[i])
		}
	}
	if got.Fleet.Costs.Zone != 0.4 {
		t.Errorf("fleet.costs.zone = %v, want that of a peer, 0.4", got.Fleet.Costs.Zone)
	}
	if want := []Slow{{Nodes{1, 4, 5}, 0.5}, {Nodes{0}, 1}}; !reflect.DeepEqual(got.Fleet.Slow, want) {
		t.Errorf("fleet.slow = %v, want %v", got.Fleet.Slow, want)
	}
	if want := (Event{At: 30 * time.Second, Restart: Nodes{2, 9}, Empty: true}); !reflect.DeepEqual(got.Events[4], want) {
		t.Errorf("events[4] = %+v, want %+v", got.Events[4], want)
	}
	// Whatever has been left at its default is not tried here.
	left := defaults()
	for i, name := range namesOf(reflect.TypeFor[Scenario]()) {
		if name != "sample" && reflect.DeepEqual(reflect.ValueOf(got).Elem().Field(i).Interface(), reflect.ValueOf(left).Elem().Field(i).Interface()) {
			t.Errorf("%s is at its default", name)
		}
	}
	for i, name := range namesOf(reflect.TypeFor[Fleet]()) {
		if reflect.DeepEqual(reflect.ValueOf(got.Fleet).Field(i).Interface(), reflect.ValueOf(left.Fleet).Field(i).Interface()) {
			t.Errorf("fleet.%s is at its default", name)
		}
	}
}

// checkRoundTrip fails unless s printed is read back as s, with the same hash.
func checkRoundTrip(t *testing.T, s *Scenario) {
	t.Helper()
	text, err := Effective(s)
	if err != nil {
		t.Fatalf("Effective(%+v): %v", s, err)
	}
	again, err := Parse("effective.yaml", text)
	if err != nil {
		t.Fatalf("Parse(Effective()) of\n%s: %v", text, err)
	}
	if !reflect.DeepEqual(again, s) {
		t.Errorf("Parse(Effective()) =\n%+v, want\n%+v; text:\n%s", again, s, text)
	}
	if Hash(again) != Hash(s) {
		t.Errorf("Hash(Parse(Effective())) = %s, want %s", Hash(again), Hash(s))
	}
}

func TestEffectiveKeepsOddText(t *testing.T) {
	for _, about := range []string{"a: b # c", "''", `"`, "true", "012", "null", "~", " x ", "ü", "-", "*a", "&a", "!!b", "a\\nb", "{}", "[", "- a", "? a", "| a", "> a", "%", "@a", "`", "1e3", "0x1f", "2026-11-22", "a,b", "\u2028", "\ufeffx", "yes", ".inf"} {
		text := strings.Replace(minimal, "\n", "\nabout: '"+strings.ReplaceAll(about, "'", "''")+"'\n", 1)
		s, err := Parse("odd.yaml", []byte(text))
		if err != nil {
			t.Errorf("about %q: %v", about, err)
			continue
		}
		if s.About != about {
			t.Errorf("about %q was read as %q", about, s.About)
		}
		checkRoundTrip(t, s)
	}
}

// TestViolations shows, for each file in testdata/violations, the whole error.
func TestViolations(t *testing.T) {
	datadriven.RunTest(t, "testdata/violations", func(t *testing.T, d *datadriven.TestData) string {
		text := d.Input
		if d.Cmd == "minimal" { // what is being tried, and what every file needs
			text = strings.TrimSpace(d.Input + minimal)
		}
		s, err := Parse("s.yaml", []byte(text))
		if err != nil {
			return err.Error()
		}
		checkRoundTrip(t, s)
		return "ok"
	})
}

func TestReady(t *testing.T) {
	names := Ready()
	if len(names) != 10 {
		t.Errorf("Ready() = %v, want ten", names)
	}
	for _, name := range names {
		s, err := Load(name)
		if err != nil {
			t.Errorf("Load(%s): %v", name, err)
			continue
		}
		if s.Name != name || s.About == "" || len(s.Expect) == 0 {
			t.Errorf("%s: name %q, about %q, expect %v, want its file's name, a question and expectations", name, s.Name, s.About, s.Expect)
		}
		checkRoundTrip(t, s)
	}
	if _, err := ReadyFile("no-such"); err == nil || !strings.Contains(err.Error(), "churn") {
		t.Errorf("ReadyFile(no-such) = %v, want an error that lists what there is", err)
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s.yaml")
	if _, err := Load(name); err == nil || strings.Count(err.Error(), name) != 1 || !strings.Contains(err.Error(), "two-zones") {
		t.Errorf("Load(missing) = %v, want an error that names the file once, and the ready scenarios", err)
	}
	if err := os.WriteFile(name, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(name, Setting{"fleet.nodes", "7"})
	if err != nil || s.Fleet.Nodes != 7 {
		t.Errorf("Load(minimal, fleet.nodes=7) = %+v, %v, want 7 nodes", s, err)
	}
	if _, err := Load(filepath.Dir(name)); err == nil {
		t.Error("Load(a directory) = nil, want an error")
	}
	// A file counts before a ready scenario of its name.
	t.Chdir(filepath.Dir(name))
	if err := os.WriteFile("churn", []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = Load("churn"); err != nil || s.Name != "tiny" {
		t.Errorf("Load(churn) = %+v, %v, want the file of that name", s, err)
	}
}

func TestParseRefusesWhatIsNoText(t *testing.T) {
	for cause, data := range map[string][]byte{
		"not UTF-8":   []byte("name: \xff\n" + minimal),
		"longer than": bytes.Repeat([]byte("#"), maxFile+1),
	} {
		if _, err := Parse("s.yaml", data); err == nil || !strings.HasPrefix(err.Error(), "s.yaml: "+cause) {
			t.Errorf("Parse = %v, want s.yaml: %s", err, cause)
		}
	}
}

func TestEffectiveRefusesWhatParseDidNotMake(t *testing.T) {
	if text, err := Effective(&Scenario{Version: Version, Name: "x"}); err == nil || !strings.Contains(err.Error(), "fleet.nodes") {
		t.Errorf("Effective(a scenario without a fleet) = %s, %v, want an error", text, err)
	}
}

// FuzzParse tries files, and texts that must be printed so that they are read back.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal), "a: b # c")
	f.Add([]byte(everything), "- 'x' \"y\" \\ \u2028")
	for _, name := range Ready() {
		data, err := ReadyFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "null")
	}
	f.Add([]byte("datasets: &x [{name: /, file: 4MiB}]\n--- *x"), "")
	f.Add([]byte("? [a]\n: {b: !!int 1}\n<<: *a\nexpect: |\n  x\nfleet: [1, {}]"), "1e3")
	f.Fuzz(func(t *testing.T, data []byte, about string) {
		if s, err := Parse("s.yaml", data); err == nil {
			checkRoundTrip(t, s)
		}
		if s, err := Parse("s.yaml", []byte(minimal), Setting{"about", about}); err == nil {
			checkRoundTrip(t, s)
		}
	})
}
