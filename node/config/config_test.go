package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoal-mesh/shoal"
)

// environ is the environment of the tests.
func environ(name string) (string, bool) {
	value, ok := map[string]string{
		"ZONE":     "rack-7",
		"EMPTY":    "",
		"SIZE":     "2GiB",
		"TRICK":    "${ZONE}, # {x: y}",
		SecretEnv:  "0123456789abcdef",
		"REPLICAS": "1",
	}[name]
	return value, ok
}

const minimal = `
cache: [{path: /mnt/nvme0/shoal}]
namespace: [{path: /imagenet, ufs: "s3://train/imagenet/"}]
`

func TestParseFillsDefaults(t *testing.T) {
	got, err := Parse("shoal.yaml", []byte(minimal), environ)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Cache = []Disk{{Path: "/mnt/nvme0/shoal", Size: Size{Percent: 80}}}
	want.State = "/mnt/nvme0/shoal/state"
	want.Namespace = []Mount{{
		Path: "/imagenet", UFS: "s3://train/imagenet/", Policy: "auto", Write: "ro",
		S3:       S3{Region: "us-east-1", Addressing: "virtual"},
		Replicas: Replicas{Min: 1, Max: shoal.Unlimited, Classes: true},
		Metadata: Metadata{TTL: time.Minute, MaxStale: 24 * time.Hour},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse(minimal) = %+v, want %+v", got, want)
	}
}

// TestParseEverything sets each field to something other than its default.
func TestParseEverything(t *testing.T) {
	text := `
cluster:
  name: fleet-a
  join: ["shoal-agents:7946", 10.0.0.5:7946]
  secret_file: /etc/shoal/secret
  zone: "${ZONE}"
  node_name: ${NODE:-gpu}-1
listen: {gossip: "10.0.0.5:1", peer: "[::1]:2", admin: ":3", advertise: 10.0.0.5}
cache:
  - {path: /mnt/nvme0/shoal, size: "${SIZE}"}
  - path: /mnt/nvme1/shoal
    size: 1.5TB
scrub: {rate: 0, pause: 90m}
state: /var/lib/shoal
mount: {path: /mnt/shoal, small_files: /mnt/small, allow_other: true, uid: 1000, gid: 0, passthrough: off}
namespace:
  - path: /models
    ufs: s3://train
    s3:
      endpoint: http://10.0.0.5:9000
      region: eu-west-1
      access_key_file: /etc/shoal/access
      secret_key_file: /etc/shoal/key
    policy: uniform
    quota: 500GiB
    replicas: {min: "${REPLICAS}", max: 3, classes: false}
    metadata: {ttl: 0s, max_stale: 90m}
    write: ro
  - {path: /models/nas, ufs: "file:///nas", forward: 64MiB}
read: {readahead: 0, max_inflight: 64MiB}
trace: {path: /var/lib/shoal/traces, share: 0.25, max_size: 4GB}
admin: {socket: /tmp/shoal.sock, token_file: /etc/shoal/token}
log: {level: warn, format: json}
`
	got, err := Parse("shoal.yaml", []byte(text), environ)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Cluster: Cluster{
			Name: "fleet-a", Join: []string{"shoal-agents:7946", "10.0.0.5:7946"},
			SecretFile: "/etc/shoal/secret", Zone: "rack-7", NodeName: "gpu-1", Encryption: "tls",
		},
		Listen: Listen{Gossip: "10.0.0.5:1", Peer: "[::1]:2", Admin: ":3", Advertise: "10.0.0.5"},
		Cache: []Disk{
			{Path: "/mnt/nvme0/shoal", Size: Size{Bytes: 2 << 30}},
			{Path: "/mnt/nvme1/shoal", Size: Size{Bytes: 1.5e12}},
		},
		Scrub: Scrub{Rate: 0, Pause: 90 * time.Minute},
		State: "/var/lib/shoal",
		Mount: FUSE{Path: "/mnt/shoal", SmallFiles: "/mnt/small", AllowOther: true, UID: 1000, GID: 0, Passthrough: "off"},
		Namespace: []Mount{{
			Path: "/models", UFS: "s3://train", Policy: "uniform", Write: "ro",
			S3: S3{
				Endpoint: "http://10.0.0.5:9000", Region: "eu-west-1", Addressing: "path",
				AccessKeyFile: "/etc/shoal/access", SecretKeyFile: "/etc/shoal/key",
			},
			Quota:    500 << 30,
			Replicas: Replicas{Min: 1, Max: 3},
			Metadata: Metadata{MaxStale: 90 * time.Minute},
		}, {
			Path: "/models/nas", UFS: "file:///nas", Policy: "auto", Write: "ro", Forward: 64 << 20,
			Replicas: Replicas{Min: 1, Max: shoal.Unlimited, Classes: true},
			Metadata: Metadata{TTL: time.Minute, MaxStale: 24 * time.Hour},
		}},
		Read:  Read{Readahead: 0, MaxInflight: 64 << 20},
		Trace: Trace{Path: "/var/lib/shoal/traces", Share: 0.25, MaxSize: 4e9},
		Admin: Admin{Socket: "/tmp/shoal.sock", TokenFile: "/etc/shoal/token"},
		Log:   Log{Level: "warn", Format: "json"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse(everything) =\n%+v, want\n%+v", got, want)
	}
	checkRoundTrip(t, got)
}

// checkRoundTrip fails unless c printed is read back as c.
func checkRoundTrip(t *testing.T, c *Config) {
	t.Helper()
	text, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("effective.yaml", text, environ)
	if err != nil {
		t.Fatalf("Parse(Effective()) of\n%s: %v", text, err)
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("Parse(Effective()) = %+v, want %+v; text:\n%s", again, c, text)
	}
}

func TestEffectiveKeepsOddText(t *testing.T) {
	for _, zone := range []string{"$${ZONE}", "$$${x}", "a: b # c", "'", `"`, "true", "012", "null", " x ", "ü", "-", "*a", "${TRICK}", "a\\nb"} {
		text := strings.Replace(minimal, "\n", "\ncluster: {zone: '"+strings.ReplaceAll(zone, "'", "''")+"'}\n", 1)
		c, err := Parse("shoal.yaml", []byte(text), environ)
		if err != nil {
			t.Errorf("zone %s: %v", zone, err)
			continue
		}
		checkRoundTrip(t, c)
	}
}

func TestEffectiveJSON(t *testing.T) {
	c, err := Parse("shoal.yaml", []byte(minimal), environ)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.EffectiveJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cache []struct{ Path, Size string }
		Read  struct{ Readahead string }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("EffectiveJSON() = %s: %v", text, err)
	}
	if len(got.Cache) != 1 || got.Cache[0].Size != "80%" || got.Read.Readahead != "32MiB" {
		t.Errorf("EffectiveJSON() = %s, want the values of the config", text)
	}
}

// TestReference holds docs/configuration.md to the code: its last example means the
// defaults and shows every field there is; the one before is a whole config.
func TestReference(t *testing.T) {
	text := reference(t)
	got, err := Parse("configuration.md", text, environ)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse("shoal.yaml", []byte(minimal), environ)
	if err != nil {
		t.Fatal(err)
	}
	want.Namespace[0].UFS = got.Namespace[0].UFS
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse(reference) = %+v, want the defaults %+v", got, want)
	}
	for _, name := range yamlNames(reflect.TypeFor[Config]()) {
		if !bytes.Contains(text, []byte(name+":")) {
			t.Errorf("docs/configuration.md does not show the field %s", name)
		}
	}
}

// reference returns the example of docs/configuration.md that shows every field.
func reference(t testing.TB) []byte {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := bytes.Split(page, []byte("```yaml\n"))[1:]
	for i := range examples {
		examples[i], _, _ = bytes.Cut(examples[i], []byte("```"))
	}
	if len(examples) != 2 {
		t.Fatalf("docs/configuration.md has %d examples, want 2", len(examples))
	}
	if _, err := Parse("smallest.yaml", examples[0], environ); err != nil {
		t.Errorf("the smallest example: %v", err)
	}
	return examples[1]
}

// yamlNames returns the names of all fields below the struct t.
func yamlNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		names = append(names, f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Slice {
			f.Type = f.Type.Elem()
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Size]() {
			names = append(names, yamlNames(f.Type)...)
		}
	}
	return names
}

// TestViolations shows, for each file in testdata/violations, the whole error.
func TestViolations(t *testing.T) {
	datadriven.RunTest(t, "testdata/violations", func(t *testing.T, d *datadriven.TestData) string {
		getenv := environ
		if d.HasArg("no-secret") {
			getenv = func(string) (string, bool) { return "", false }
		}
		text := d.Input
		if d.Cmd == "minimal" { // what is being tried, and what every file needs
			text = strings.TrimSpace(d.Input + minimal)
		}
		c, err := Parse("shoal.yaml", []byte(text), getenv)
		if err != nil {
			return err.Error()
		}
		checkRoundTrip(t, c)
		return "ok"
	})
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "shoal.yaml")
	t.Setenv(SecretEnv, "0123456789abcdef")
	if _, err := Load(name); err == nil || strings.Count(err.Error(), name) != 1 {
		t.Errorf("Load(missing) = %v, want an error that names the file once", err)
	}
	if err := os.WriteFile(name, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err != nil {
		t.Errorf("Load(minimal) = %v, want nil", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(reference(f))
	f.Add([]byte("cache: [{path: /a, size: ${SIZE:-1GiB}}]\nnamespace: &x [{path: /, ufs: 'file:///b'}]\n--- *x"))
	f.Add([]byte("? [a]\n: {b: !!int 1}\n<<: *a\ncache: |\n  x\nmount: [1, {}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("shoal.yaml", data, environ)
		if err != nil {
			if bytes.ContainsRune([]byte(err.Error()), 0) && !bytes.ContainsRune(data, 0) {
				t.Errorf("Parse(%q): odd error %q", data, err)
			}
			return
		}
		checkRoundTrip(t, c)
	})
}
