package solo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/trace"
)

// replay has ids, each of one byte, a second apart, go through a cache.
func replay(t *testing.T, policy string, capacity int64, ids []uint64) Stats {
	t.Helper()
	c, err := New(Config{Policy: policy, Capacity: capacity})
	if err != nil {
		t.Fatal(err)
	}
	records := make([]trace.Record, len(ids))
	for i, id := range ids {
		records[i] = trace.Record{Time: int64(i) * 1e6, Block: id, Size: 1, Bytes: 1}
	}
	c.Replay(records)
	return c.Stats()
}

// TestLRUAgainstPlain compares hits with those of a plain LRU.
func TestLRUAgainstPlain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 0))
	zipf := rand.NewZipf(rnd, 1.1, 1, 5000)
	ids := make([]uint64, 200_000)
	for i := range ids {
		ids[i] = zipf.Uint64()*1e12 + 7
	}
	for _, capacity := range []int{1, 10, 300, 6000} {
		var order []uint64 // warmest last
		at, hits := make(map[uint64]bool), int64(0)
		for _, id := range ids {
			if at[id] {
				hits++
				for i, o := range order {
					if o == id {
						order = append(order[:i], order[i+1:]...)
						break
					}
				}
			} else if len(order) == capacity {
				delete(at, order[0])
				order = order[1:]
			}
			at[id] = true
			order = append(order, id)
		}
		if got := replay(t, "lru", int64(capacity), ids); got.Hits != hits || got.Requests != int64(len(ids)) {
			t.Errorf("%d blocks of room: %d hits of %d, want %d of %d", capacity, got.Hits, got.Requests, hits, len(ids))
		}
	}
}

// TestPolicies checks hits of a shuffled dataset of which half fits (policy.md §3.1, §3.2), and
// that none is better than what knows the future.
func TestPolicies(t *testing.T) {
	const d, epochs = 2000, 30
	rnd := rand.New(rand.NewPCG(1, 0))
	var ids []uint64
	for range epochs {
		for _, i := range rnd.Perm(d) {
			ids = append(ids, uint64(i))
		}
	}
	best := int64(0)
	for _, hit := range bound.Belady(ids, d/2) {
		if hit {
			best++
		}
	}
	for policy, want := range map[string]float64{
		"uniform": 0.5, "shoal": 0.49, "lru": bound.LRUEpoch(0.5), "random": bound.RandomEpoch(0.5), "fifo": 0.1944,
	} {
		s := replay(t, policy, d/2, ids)
		got := float64(s.Hits) / float64(s.Requests-d) // the first epoch has none
		if got < want-0.02 || got > want+0.02 || s.Hits > best {
			t.Errorf("%s: hits = %.4f, want %.4f, and %d at most %d", policy, got, want, s.Hits, best)
		}
	}
	if _, err := New(Config{Policy: "clairvoyant", Capacity: 1}); err == nil {
		t.Error("New(clairvoyant) = nil, want an error")
	}
}

// BenchmarkReplay tells how many requests per second a trace in the oracleGeneral format makes, read
// from a file, decoding included: 50 million requests by Zipf's law.
func BenchmarkReplay(b *testing.B) {
	name := writeZipf(b, 50_000_000, 1_000_000)
	for _, policy := range []string{"lru", "sieve", "fifo"} {
		for _, share := range []float64{0.01, 0.1} {
			b.Run(fmt.Sprintf("%s/%v", policy, share), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					benchReplay(b, name, policy, int64(share*1_000_000))
				}
			})
		}
	}
}

func benchReplay(b *testing.B, name, policy string, capacity int64) {
	src, err := trace.Open(name, trace.OracleGeneral, trace.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	c, err := New(Config{Policy: policy, Capacity: capacity, Unit: true})
	if err != nil {
		b.Fatal(err)
	}
	begun := cpu(b)
	batch := make([]trace.Record, 4096)
	for {
		n, err := src.Next(batch)
		if err != nil {
			break
		}
		c.Replay(batch[:n])
	}
	s := c.Stats()
	b.ReportMetric(float64(s.Requests)/(cpu(b)-begun).Seconds(), "requests/cpu-s")
	b.ReportMetric(1-float64(s.Hits)/float64(s.Requests), "misses")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB")
}

// cpu returns the time that the processor has worked for this process: others may want it too.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// writeZipf writes a trace of requests of so many objects, by Zipf's law with exponent 1.
func writeZipf(b *testing.B, requests, objects int) string {
	p := bound.Zipf(objects, 1)
	sum := 0.0
	for i := range p {
		sum += p[i]
		p[i] = sum
	}
	rng := rand.NewPCG(1, 0)
	// Inverting by a table of the first digits and a search from there.
	const cuts = 1 << 20
	first := make([]uint32, cuts+1)
	for i, at := 0, 0; i <= cuts; i++ {
		for at < objects-1 && p[at] < float64(i)/cuts {
			at++
		}
		first[i] = uint32(at)
	}
	var out bytes.Buffer
	out.Grow(24 * requests)
	for i := range requests {
		u := float64(rng.Uint64()>>11) / (1 << 53)
		at := int(first[int(u*cuts)])
		for p[at] < u && at < objects-1 {
			at++
		}
		var r [24]byte
		binary.LittleEndian.PutUint32(r[:], uint32(i/10_000))
		binary.LittleEndian.PutUint64(r[4:], uint64(at)*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint32(r[12:], 4096)
		binary.LittleEndian.PutUint64(r[16:], ^uint64(0))
		out.Write(r[:])
	}
	name := b.TempDir() + "/zipf.oracleGeneral"
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return name
}
