package node

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/node/trace"
	"github.com/shoal-mesh/shoal/replicas"
)

// newTestRecorder returns a recorder of everything into a directory of its own.
func newTestRecorder(t testing.TB, share float64) (*recorder, string) {
	t.Helper()
	dir := t.TempDir()
	out, err := newTraceFiles(dir, "n1", share, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(out, share, new(costs).told, slog.New(slog.DiscardHandler))
	t.Cleanup(r.close)
	return r, dir
}

// recorded returns the records in the traces of a directory, file by file.
func recorded(t testing.TB, dir string) (all []trace.Record) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+traceSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		all = append(all, recordsOf(t, name)...)
	}
	return all
}

func recordsOf(t testing.TB, name string) (all []trace.Record) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	r, err := trace.NewReader(f)
	var rec trace.Record
	for err == nil {
		if err = r.Next(&rec); err == nil {
			all = append(all, rec)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("%s: %v", name, err)
	}
	if got := r.Nodes(); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("%s: nodes %q, want n1", name, got)
	}
	return all
}

// TestRecorderVisits gives a recorder pieces at certain times, and checks which of them make
// one record.
func TestRecorderVisits(t *testing.T) {
	const size = 4000
	type read struct {
		at    time.Duration // when it ends
		file  int
		block uint32
		bytes int
		tier  shoal.Tier
	}
	const sec, ms, ufs = time.Second, time.Millisecond, shoal.TierUFS
	tests := []struct {
		name  string
		reads []read
		want  []int // bytes of each record
	}{
		{"a block in order", []read{{0, 0, 1, 1000, 0}, {1, 0, 1, 1000, ufs}, {2, 0, 1, 2000, 0}}, []int{4000}},
		{"the whole block twice", []read{{0, 0, 1, 4000, 0}, {1, 0, 1, 4000, 0}}, []int{4000, 4000}},
		{"more than the block has", []read{{0, 0, 1, 3000, 0}, {1, 0, 1, 3000, 0}}, []int{3000, 3000}},
		{"two files", []read{{0, 0, 1, 1000, 0}, {1, 1, 1, 1000, 0}, {2, 0, 1, 1000, 0}}, []int{2000, 1000}},
		{"pieces of two blocks, mixed", []read{{0, 0, 1, 1000, 0}, {1, 0, 2, 500, 0}, {2, 0, 1, 2000, 0}, {3, 0, 2, 500, 0}}, []int{3000, 1000}},
		{"gone elsewhere", []read{{0, 0, 1, 1000, 0}, {1, 0, 2, 1, 0}, {2, 0, 3, 2, 0}, {3, 0, 4, 3, 0}, {4, 0, 5, 4, 0}, {5, 0, 1, 1001, 0}}, []int{1000, 1, 2, 3, 4, 1001}},
		{"slow, never a second without", []read{{0, 0, 1, 100, 0}, {sec, 0, 1, 100, 0}, {2 * sec, 0, 1, 100, 0}}, []int{300}},
		{"a pause", []read{{0, 0, 1, 100, 0}, {sec + ms, 0, 1, 200, 0}}, []int{100, 200}},
		{"without an end", []read{
			{0, 0, 1, 1, 0},
			{sec, 0, 1, 2, 0},
			{2 * sec, 0, 1, 2, 0},
			{3 * sec, 0, 1, 2, 0},
			{4 * sec, 0, 1, 2, 0},
			{5 * sec, 0, 1, 2, 0},
			{6 * sec, 0, 1, 2, 0},
			{7 * sec, 0, 1, 2, 0},
			{8 * sec, 0, 1, 2, 0},
			{9 * sec, 0, 1, 2, 0},
			{10 * sec, 0, 1, 2, 0},
			{11 * sec, 0, 1, 5, 0},
		}, []int{21, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, dir := newTestRecorder(t, 1)
				files := []visitor{{dataset: "/data"}, {dataset: "/data"}}
				total, slowest := 0, shoal.TierLocal
				for _, rd := range tt.reads {
					time.Sleep(time.Until(r.began.Add(rd.at))) // of the bubble's clock
					r.gave(r.see(shoal.Key{Index: rd.block}), &files[rd.file], rd.bytes, size, rd.tier)
					total, slowest = total+rd.bytes, max(slowest, rd.tier)
				}
				r.close()
				var got []int
				for _, rec := range recorded(t, dir) {
					got = append(got, int(rec.Bytes))
					if rec.Size != size || len(tt.want) == 1 && rec.Tier != slowest {
						t.Errorf("record %+v, want one of a block of %d, from %v", rec, size, slowest)
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("records of %d bytes, want %d", got, tt.want)
				}
			})
		})
	}
}

// TestRecorderFlushes checks when a record is in the file of an agent that goes on.
func TestRecorderFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dir := newTestRecorder(t, 1)
		by := &visitor{dataset: "/data"}
		for _, took := range []time.Duration{250 * time.Millisecond, 100 * time.Millisecond} {
			seen := r.see(shoal.Key{Index: 1})
			time.Sleep(took)
			r.gave(seen, by, 10, 100, shoal.TierPeer)
		}
		time.Sleep(visitIdle)
		if got := r.records.Load(); got != 0 {
			t.Errorf("%d records within a second, want 0: the block may be read on", got)
		}
		time.Sleep(2 * drainEvery)
		if got := r.records.Load(); got != 1 {
			t.Errorf("%d records after a second, want 1", got)
		}
		time.Sleep(flushEvery)
		got := recorded(t, dir)
		want := []trace.Record{{Block: replicas.HashKey(shoal.Key{Index: 1}), Size: 100, Bytes: 20, Latency: 350_000, Tier: shoal.TierPeer}}
		if !slices.Equal(got, want) {
			t.Errorf("records in the file %+v, want %+v", got, want)
		}
		for i := range uint32(maxVisits + 1) {
			r.gave(r.see(shoal.Key{Index: 2 + i}), by, 10, 100, shoal.TierPeer)
		}
		time.Sleep(2 * drainEvery)
		if got := r.records.Load(); got != 2 {
			t.Errorf("%d records when the file has been read elsewhere, want 2", got)
		}
	})
}

// TestRecorderDrops lets the writer hang: readers do not, and what they read is counted.
func TestRecorderDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newTestRecorder(t, 1)
		goOn := make(chan struct{})
		create := r.out.create
		r.out.create = func(name string) (traceFile, error) {
			<-goOn
			return create(name)
		}
		key, by := shoal.Key{Index: 1}, &visitor{dataset: "/data"}
		r.gave(r.see(key), by, 1, 1, shoal.TierLocal)
		time.Sleep(2 * drainEvery)
		synctest.Wait() // the writer hangs
		for range queuedPieces + 7 {
			r.gave(r.see(key), by, 1, 1, shoal.TierLocal)
		}
		if got := r.dropped.Load(); got != 7 {
			t.Errorf("%d reads dropped, want the 7 that the queue had no room for", got)
		}
		close(goOn)
		r.close()
		if got := r.records.Load(); got != 1+queuedPieces {
			t.Errorf("%d records, want %d", got, 1+queuedPieces)
		}
	})
}

// TestRecorderSamples checks that a share of the blocks is recorded, and of these all reads.
func TestRecorderSamples(t *testing.T) {
	const share, blocks = 0.1, 5000
	r, dir := newTestRecorder(t, share)
	want := make(map[uint64]int)
	for i := range uint32(2 * blocks) {
		key := shoal.Key{Index: i % blocks}
		r.gave(r.see(key), &visitor{dataset: "/data"}, 1, 1, shoal.TierLocal)
		if h := replicas.HashKey(key); trace.Sampled(h, share) {
			want[h] = 2
		}
	}
	r.close()
	got := make(map[uint64]int)
	for _, rec := range recorded(t, dir) {
		got[rec.Block]++
	}
	if !maps.Equal(got, want) || len(want) < blocks/20 {
		t.Errorf("%d blocks recorded, want %d, twice each", len(got), len(want))
	}
}

// A smallDisk is a file on a disk that has room for so much.
type smallDisk struct {
	*os.File
	room *int
}

func (d smallDisk) Write(b []byte) (int, error) {
	n, err := d.File.Write(b[:min(len(b), *d.room)])
	if *d.room -= n; err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

// TestRecorderFullDisk fills the disk: recording ends with a line in the log, and the trace up
// to there is whole.
func TestRecorderFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dir := newTestRecorder(t, 1)
		var log strings.Builder
		r.log = slog.New(slog.NewTextHandler(&log, nil))
		room := 300
		create := r.out.create
		r.out.create = func(name string) (traceFile, error) {
			f, err := create(name)
			return smallDisk{f.(*os.File), &room}, err
		}
		by := &visitor{dataset: "/data"}
		for i := range uint32(100) {
			r.gave(r.see(shoal.Key{Index: i}), by, 1, 1, shoal.TierLocal)
			time.Sleep(flushEvery + drainEvery)
		}
		if s := r.see(shoal.Key{}); s.sampled {
			t.Error("a read is still recorded on a full disk")
		}
		status := traceStatus(config.Trace{Path: dir, Share: 1}, r)
		r.close()
		if got := recorded(t, dir); len(got) < 2 || len(got) > 10 {
			t.Errorf("%d records in a trace of 300 bytes, want a few, and no broken one", len(got))
		}
		if !strings.Contains(status.Error, "no space left") || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("status %+v, log %q, want the error in both, in one line", status, log.String())
		}
		reg := prometheus.NewPedanticRegistry()
		traceMetrics(reg, func() *TraceStatus { return status })
		want := map[string]float64{
			"shoal_trace_records_total": float64(status.Records), "shoal_trace_dropped_total": 0,
			"shoal_trace_bytes_total": float64(status.Bytes), "shoal_trace_errors_total": 1,
		}
		if got := gather(t, reg); !maps.Equal(got, want) {
			t.Errorf("metrics %v, want %v", got, want)
		}
	})
}

// TestRecordedReads reads files as the kernel does, and compares the records with what the node
// counts itself.
func TestRecordedReads(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	r, dir := newTestRecorder(t, 1)
	files := NewFiles(b.Fetcher, b.store, 8<<20)
	files.trace = r
	e, _ := b.put(t, 2*shoal.BlockSize+100_000)
	for range 2 { // from the UFS, then from the store
		f, err := files.Open(e)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, shoal.ChunkSize)
		for off := int64(0); off < e.Info.Size; off += int64(len(p)) {
			if _, err := f.ReadAt(t.Context(), p, off); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for i := range e.Info.Size/shoal.BlockSize + 1 { // until it is in the store
			if ft := b.want(e, false, whole(uint32(i)))[0]; ft != nil {
				if err := ft.wait(t.Context(), len(ft.sums)); err != nil {
					t.Fatal(err)
				}
				ft.release()
			}
		}
		b.wg.Wait()
	}
	r.close()
	got := recorded(t, dir)
	bytes := make(map[string]int64)
	for i := range got {
		bytes[got[i].Tier.String()] += int64(got[i].Bytes)
		got[i].Time, got[i].Latency = 0, 0
	}
	counted := files.Stats().Bytes
	maps.DeleteFunc(counted, func(_ string, n int64) bool { return n == 0 })
	if !maps.Equal(bytes, counted) || len(bytes) != 2 {
		t.Errorf("bytes recorded by tier %v, want those counted, %v, of two tiers", bytes, counted)
	}
	var want []trace.Record
	for _, tier := range []shoal.Tier{shoal.TierUFS, shoal.TierLocal} {
		for i := range uint32(3) {
			n := uint32(shoal.BlockLen(e.Info.Size, i))
			want = append(want, trace.Record{Block: replicas.HashKey(shoal.Key{File: e.File, Index: i}), Size: n, Bytes: n, Tier: tier})
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("records %+v, want %+v", got, want)
	}
}

// TestTraceFilesRotate writes much more than the traces may be.
func TestTraceFilesRotate(t *testing.T) {
	dir := t.TempDir()
	const limit = 16 << 20
	others := []string{"20260101T000000.000000Z-n2.trace", "notes.txt", "n1.trace", "x-n1.trace"}
	for _, name := range append([]string{"20250101T000000.000000Z-n1.trace"}, others...) {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := newTraceFiles(dir, "n1", 1, limit)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hash := uint64(1)
	for i := 1; out.written.Load() < 2*limit; i++ {
		at = at.Add(time.Millisecond)
		hash *= 0x9e3779b97f4a7c15 // what does not pack
		if err := out.append(at, "/data", trace.Record{Block: hash, Size: uint32(hash >> 13), Bytes: uint32(hash >> 33)}); err != nil {
			t.Fatal(err)
		}
		if i%5000 == 0 {
			checkSize(t, dir, limit)
		}
	}
	if err := out.close(); err != nil {
		t.Fatal(err)
	}
	size, names := checkSize(t, dir, limit)
	if size < limit*3/4 {
		t.Errorf("%d bytes are left of %d, want most of %d", size, out.written.Load(), limit)
	}
	for _, name := range others {
		if !slices.Contains(names, name) {
			t.Errorf("%s is gone", name)
		}
	}
	if mine := slices.DeleteFunc(names, func(n string) bool { return !out.owns(n) }); len(mine) < 6 || strings.HasPrefix(mine[0], "2025") {
		t.Errorf("traces %q, want some of this run and not the oldest", mine)
	}
}

// checkSize returns how much the traces of a directory are, and all names there.
func checkSize(t *testing.T, dir string, limit int64) (size int64, names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), "Z-n1.trace") {
			size += info.Size()
		}
	}
	if size > limit {
		t.Fatalf("the traces have %d bytes, want at most %d", size, limit)
	}
	return size, names
}

// TestTraceFilesOfOddNames checks that names of nodes and datasets which do not fit do no harm.
func TestTraceFilesOfOddNames(t *testing.T) {
	dir := t.TempDir()
	out, err := newTraceFiles(dir, "rack 7/gpu", 0.5, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for i := range 3 { // the second began before the trace did
		err := out.append(at.Add(time.Duration(cmp.Compare(1, i))*time.Second), "/"+strings.Repeat("d", 300), trace.Record{Size: 1, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := out.close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "20260102T030406.000006Z-rack_7_gpu.trace"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	r, err := trace.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rec trace.Record
	if err := r.Next(&rec); err != nil || r.Nodes()[0] != "rack 7/gpu" || len(r.Datasets()[0]) != maxTraceName {
		t.Errorf("Next() = %v of node %q, dataset %q", err, r.Nodes(), r.Datasets())
	}
	if want := (trace.Header{Start: at.Add(time.Second).UnixMicro(), Share: 0.5}); r.Header() != want {
		t.Errorf("Header() = %+v, want %+v", r.Header(), want)
	}
}
