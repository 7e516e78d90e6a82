package scenario

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shoal-mesh/shoal"
)

// The limits of values; the comments of Scenario's fields repeat them for the reader.
const (
	maxNodes                = 60_000
	maxZones                = 1_000
	maxName                 = 63 // characters
	maxTime                 = 8760 * time.Hour
	maxCache    shoal.Bytes = 1 << 50
	maxForward  shoal.Bytes = 16 << 30
	minForward  shoal.Bytes = 64 << 10
	mostKept                = 3         // of replicas.min
	mostCopies              = 6         // of replicas.max
	maxBlocks               = 1<<32 - 2 // of all datasets: blocks are numbered in 32 bits
	maxVersions             = 10_000
	maxPerTime              = 1e9 // of what is counted per second: more than one a nanosecond has no meaning
	maxReads                = 1e12
)

// nameCharacters are what the names of datasets and jobs are made of.
const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/"

// A checker finds what is wrong with the values of a decoded Scenario.
type checker struct {
	*document
}

func newChecker(d *document) *checker { return &checker{document: d} }

// check reports every violation of the limits of s to the document.
func (k *checker) check(s *Scenario) {
	k.head(s)
	k.fleet(s.Fleet)
	k.datasets(s)
	k.jobs(s)
	k.blocks(s)
	k.events(s)
	k.expect(s)
}

func (k *checker) head(s *Scenario) {
	switch {
	case !k.given("version"):
		k.refuse("version", "", "required; write version: 1")
	case s.Version != Version:
		k.refuse("version", strconv.Itoa(s.Version), "not a version that is read here; write version: 1")
	}
	k.oneLine("name", s.Name)
	switch {
	case s.Name == "":
		k.refuse("name", "", "required; say what reports call it")
	case utf8.RuneCountInString(s.Name) > maxName:
		k.refuse("name", s.Name, fmt.Sprintf("too long; use at most %d characters", maxName))
	}
	k.oneLine("about", s.About)
	k.oneOf("engine", string(s.Engine), string(Reads), string(Time))
	between(k, "sample", s.Sample, 0.0001, 1)
	if s.Engine == Time && s.Sample != 1 {
		k.refuse("sample", text(s.Sample), `engine "time" simulates all blocks; leave sample out, or use engine "reads"`)
	}
	between(k, "duration", s.Duration, 0, maxTime)
	if s.Duration > 0 && s.Warmup > s.Duration {
		k.refuse("warmup", text(s.Warmup), "longer than duration; give at most "+text(s.Duration))
	}
	between(k, "warmup", s.Warmup, 0, maxTime)
	if s.Interval != 0 && (s.Interval < time.Millisecond || s.Interval > maxTime) {
		k.refuse("interval", text(s.Interval), "out of limits; give 1ms to 8760h, or 0s for about a hundred points")
	}
}

func (k *checker) fleet(f Fleet) {
	if !k.given("fleet.nodes") {
		k.refuse("fleet.nodes", "", fmt.Sprintf("required; give 1 to %d", maxNodes))
	}
	between(k, "fleet.nodes", f.Nodes, 1, maxNodes)
	if !k.given("fleet.cache") {
		k.refuse("fleet.cache", "", "required; say how much each node's cache holds, like 1TiB")
	}
	between(k, "fleet.cache", f.Cache, 1, maxCache)
	between(k, "fleet.spare", f.Spare, 0, 0.5)
	if !k.refused("fleet.nodes") {
		between(k, "fleet.zones", f.Zones, 1, min(f.Nodes, maxZones))
	}
	between(k, "fleet.directory", f.Directory, 0, time.Hour)
	between(k, "fleet.detect", f.Detect, 0, time.Hour)
	between(k, "fleet.costs.peer", f.Costs.Peer, 0.02, 0.8)
	if !k.refused("fleet.costs.peer") {
		between(k, "fleet.costs.zone", f.Costs.Zone, f.Costs.Peer, 0.8)
	}
	between(k, "fleet.epsilon", f.Epsilon, 0.001, 1)
	k.carries("fleet.nic", f.NIC)
	k.carries("fleet.nvme.read", f.NVMe.Read)
	k.carries("fleet.nvme.write", f.NVMe.Write)
	k.carries("fleet.ufs.bandwidth", f.UFS.Bandwidth)
	between(k, "fleet.ufs.latency", f.UFS.Latency, 0, time.Minute)
	between(k, "fleet.ufs.requests", f.UFS.Requests, 0, maxPerTime)
	k.slow(f)
}

func (k *checker) slow(f Fleet) {
	where := make(map[int]int) // node to the element of fleet.slow that has it
	for i, s := range f.Slow {
		key := fmt.Sprintf("fleet.slow[%d]", i)
		k.inFleet(key+".nodes", s.Nodes, f.Nodes)
		for _, n := range s.Nodes {
			if j, ok := where[n]; ok {
				k.refuse(key+".nodes", s.Nodes.String(), fmt.Sprintf("node %d is in fleet.slow[%d] too; name it once", n, j))
			}
			where[n] = i
		}
		if !k.given(key + ".share") {
			k.refuse(key+".share", "", "required; say what is left, above 0, to 1")
		}
		if s.Share <= 0 || s.Share > 1 {
			k.refuse(key+".share", text(s.Share), "out of limits; give more than 0, to 1")
		}
	}
}

// carries refuses a bandwidth of nothing.
func (k *checker) carries(key string, r Rate) {
	if r == 0 {
		k.refuse(key, r.String(), "carries nothing; give a rate above 0, or leave the key out")
	}
}

// inFleet refuses no nodes, and nodes that the fleet has not.
func (k *checker) inFleet(key string, nodes Nodes, fleet int) {
	switch {
	case len(nodes) == 0:
		k.refuse(key, "", "required; write 3, 0-7,9 or all")
	case k.refused("fleet.nodes"):
	case nodes[len(nodes)-1] >= fleet:
		k.refuse(key, nodes.String(), fmt.Sprintf("the fleet has no node %d; its nodes are 0 to %d", nodes[len(nodes)-1], fleet-1))
	}
}

// called refuses what is not the name of a dataset or a job.
func (k *checker) called(key, name string) {
	if name == "" || len(name) > maxName || strings.Trim(name, nameCharacters) != "" {
		k.refuse(key, name, "not a name; use 1 to 63 letters, digits, '.', '_', '-' or '/'")
	}
}

// oneLine refuses a text that does not fit on a line of a report.
func (k *checker) oneLine(key, value string) {
	if strings.ContainsFunc(value, unicode.IsControl) {
		k.refuse(key, value, "not on one line; leave out line breaks and tabs, also at its end")
	}
}

func (k *checker) oneOf(key, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	k.refuse(key, value, "not one of its words; use "+strings.Join(words, ", "))
}

// between refuses a value that is less than low or more than high.
func between[T cmp.Ordered](k *checker, key string, value, low, high T) {
	if value < low || value > high {
		k.refuse(key, text(value), fmt.Sprintf("out of limits; give %s to %s", text(low), text(high)))
	}
}

// text returns a scalar as it is written in a scenario.
func text(value any) string {
	switch v := value.(type) {
	case time.Duration:
		s := v.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(value)
}
