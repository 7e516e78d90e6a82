package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/sim/result"
)

func page(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, p); err != nil {
		t.Fatalf("HTML(%q) = %v, want a page", p.Title, err)
	}
	return b.String()
}

func one(r *result.Result) Page { return Page{Sweep: result.Sweep{Results: []*result.Result{r}}} }

// pages are pages of every kind.
func pages() map[string]Page {
	line := sweep()
	line.Keys = line.Keys[:1]
	return map[string]Page{
		"time":     {Sweep: one(sample("time", 0.55)).Sweep, Scenario: "version: 1\nname: <two> & \"jobs\"\n"},
		"reads":    one(sample("reads", 0.8)),
		"sweep":    {Title: "Policies", Sweep: sweep()},
		"line":     {Title: "Caches", Sweep: line},
		"two runs": {Sweep: result.Sweep{Results: []*result.Result{small(), sample("reads", 0.3)}}},
		"hostile":  {Title: hostile().Name, Sweep: result.Sweep{Keys: []string{hostile().Name, ""}, Values: [][]string{{hostile().Name, hostile().Name}, nil}, Results: []*result.Result{hostile(), hostile()}}, Scenario: hostile().Name},
		"empty":    one(&result.Result{}),
		"nothing":  {},
		"no reads": {Sweep: result.Sweep{Keys: []string{"a", "b"}, Results: []*result.Result{{Engine: "time"}, {Engine: "time", Jobs: make([]result.Job, 2), Intervals: make([]result.Interval, 1), PerNode: make([]result.Node, 1)}}}},
	}
}

func TestHTMLGolden(t *testing.T) {
	golden(t, "small.html", page(t, Page{Sweep: one(small()).Sweep, Scenario: "version: 1\nname: small\n"}))
}

func TestHTMLIsStable(t *testing.T) {
	again := pages()
	for name, p := range pages() {
		if a, b := page(t, p), page(t, again[name]); a != b {
			t.Errorf("HTML(%s) twice = two texts, want the same", name)
		}
	}
}

// TestHTMLIsWellFormed reads pages as XML, which is stricter than HTML: each tag is closed where
// it should be, and each attribute is quoted.
func TestHTMLIsWellFormed(t *testing.T) {
	for name, p := range pages() {
		d := xml.NewDecoder(strings.NewReader(page(t, p)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("HTML(%s) = %v, want well-formed", name, err)
				break
			}
		}
	}
}

// TestHTMLNeedsNoNetwork looks for whatever would have a browser fetch something.
func TestHTMLNeedsNoNetwork(t *testing.T) {
	fetch := regexp.MustCompile(`(?i)https?:|//[a-z]|\s(src|href|xlink:href|data|action|srcset)\s*=|<(script|link|iframe|img|image|object|embed|base|use|form)\b|@import|url\(`)
	for name, p := range pages() {
		if found := fetch.FindString(page(t, p)); found != "" {
			t.Errorf("HTML(%s) has %q, want nothing that is fetched or run", name, found)
		}
	}
	for _, bad := range []string{`<img src="x">`, `url(a)`, `HTTPS://x`, `"//cdn.x"`, `<script>`} {
		if !fetch.MatchString(bad) {
			t.Errorf("the pattern does not find %s", bad)
		}
	}
}

func TestHTMLEscapesNames(t *testing.T) {
	text := page(t, pages()["hostile"])
	for _, bad := range []string{"<script", "<svg onload", "\x1b", "{{.Style}}'\"", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("HTML(hostile) has %q, want it escaped", bad)
		}
	}
	if want := "&lt;script&gt;alert("; !strings.Contains(text, want) {
		t.Errorf("HTML(hostile) has no %q, want the name", want)
	}
}

// TestHTMLStaysInPlace checks that no number draws a bar or an area outside of its chart.
func TestHTMLStaysInPlace(t *testing.T) {
	attribute := regexp.MustCompile(` (?:x|y|width|height|x1|x2|y1|y2|cx|cy)="(-?[0-9.]+)"`)
	for name, p := range pages() {
		for _, m := range attribute.FindAllStringSubmatch(page(t, p), -1) {
			if len(m[1]) > 5 || m[1][0] == '-' {
				t.Fatalf("HTML(%s) draws at%s, want it within its chart", name, m[0])
			}
		}
	}
}

func TestHTMLSays(t *testing.T) {
	tests := []struct {
		page string
		want []string
	}{
		{"time", []string{
			"45.2 % of reads came from the UFS once the caches were warm", "no policy could have gone below 45.0 %",
			"seed 7 · shoal 0.4.0 · config 9f86d081884c7d65", "name: &lt;two&gt; &amp; &#34;jobs&#34;",
			"Egress from the UFS", "Time that ranks waited", "Nodes that were serving: at least 60, at most 64",
			"What the fleet served of what it can: 54.8 % of 55.0 %", "Copies of a block at the end: 80.8 %", "What nodes got from elsewhere", "Epochs of job resnet",
		}},
		{"reads", []string{"a sample, 1 % of the blocks", "simulated time, min"}},
		{"sweep", []string{"20 runs with other values of fleet.cache and datasets.0.policy", "best 0.2 %, with cache 3072GiB, policy uniform", `class="cell h8"`, `class="series s3"`}},
		{"line", []string{`class="series s0"`}},
		{"two runs", []string{"two-jobs-one-fleet, seed 7, config 9f86d081884c7d65"}},
		{"empty", []string{"Nothing was read."}},
		{"nothing", []string{"No results"}},
	}
	all := pages()
	for _, tt := range tests {
		text := page(t, all[tt.page])
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("HTML(%s) has no %q", tt.page, want)
			}
		}
	}
	if text := page(t, all["reads"]); strings.Contains(text, "Time that ranks waited") {
		t.Error(`HTML(reads) tells who waited, want that of engine "time" alone`)
	}
	if text := page(t, all["line"]); strings.Contains(text, `class="cell`) || strings.Contains(text, `class="series s1`) {
		t.Error("HTML(line) has a heat map or a second line, want these of two keys alone")
	}
}

func TestThin(t *testing.T) {
	var all []result.Interval
	for i := range 1001 {
		at := result.Interval{Start: float64(i), End: float64(i + 1), Counts: counts(10, float64(i%2)), Stall: 0.5, Alive: i}
		all = append(all, at)
	}
	got := thin(all)
	if len(got) > steps || got[0].Start != 0 || got[len(got)-1].End != 1001 || got[len(got)-1].Alive != 1000 {
		t.Fatalf("thin(1001 intervals) = %d from %v to %v, want at most %d from 0 to 1001", len(got), got[0].Start, got[len(got)-1].End, steps)
	}
	reads := int64(0)
	for _, i := range got {
		reads += i.Reads
		if i.Stall < 0.499 || i.Stall > 0.501 {
			t.Fatalf("thin(stalls of 0.5) has %v, want 0.5", i.Stall)
		}
		if want := float64(i.Tiers.UFS.Reads) / float64(i.Reads); i.Tiers.UFS.Share != want {
			t.Fatalf("thin() has a share of %v, want %v", i.Tiers.UFS.Share, want)
		}
	}
	if reads != 10010 {
		t.Errorf("thin(10010 reads) has %d, want all", reads)
	}
}

func TestScale(t *testing.T) {
	tests := []struct {
		low, high float64
		want      string
	}{
		{0, 100, "0 25 50 75 100"},
		{0, 0.3, "0.0 0.1 0.2 0.3"},
		{0, 2.99, "0 1 2 3"},
		{79, 97.4, "75 80 85 90 95 100"},
		{-3, 5, "-4 -2 0 2 4 6"},
		{0, 0, "0.00 0.25 0.50 0.75 1.00"},
		{0, 7e9, "0 2e+09 4e+09 6e+09 8e+09"},
	}
	for _, tt := range tests {
		s := between(tt.low, tt.high, 4)
		var names []string
		for _, v := range s.ticks {
			names = append(names, s.name(v))
		}
		if strings.Join(names, " ") == tt.want {
			continue
		}
		t.Errorf("between(%v, %v) = %v, want %s", tt.low, tt.high, names, tt.want)
	}
	if s := within(120, 7); s.max != 120 || !slices.Equal(s.ticks, []float64{0, 20, 40, 60, 80, 100, 120}) {
		t.Errorf("within(120) = %v up to %v, want 0 to 120", s.ticks, s.max)
	}
	if s := within(110, 7); s.max != 110 || s.ticks[len(s.ticks)-1] != 100 {
		t.Errorf("within(110) = %v up to %v, want 0 to 100, up to 110", s.ticks, s.max)
	}
}

func TestHotness(t *testing.T) {
	for _, tt := range []struct {
		f, low, high float64
		want         string
	}{
		{0, 0, 1, "h0"},
		{0.5, 0, 1, "h4"},
		{1, 0, 1, "h8"},
		{-2, -2, 7, "h0"},
		{3, 3, 3, "h0"},
	} {
		if got := hotness(tt.f, tt.low, tt.high); got != tt.want {
			t.Errorf("hotness(%v, %v, %v) = %s, want %s", tt.f, tt.low, tt.high, got, tt.want)
		}
	}
}

func TestBins(t *testing.T) {
	r := &result.Result{Replicas: result.Replicas{Histogram: map[string]int64{"17-32": 1, "2": 2, "1": 4, "9-16": 0, "65+": 1}}}
	var got []string
	for _, b := range bins(r) {
		got = append(got, b.label)
	}
	if want := []string{"1", "2", "9-16", "17-32", "65+"}; !slices.Equal(got, want) || bins(r)[0].share != 0.5 {
		t.Errorf("bins() = %q, the first with %v, want %q, 0.5", got, bins(r)[0].share, want)
	}
}
