package trace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// some returns n records of three nodes and two datasets, in which every field varies.
func some(n int, seed uint64) []Record {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]Record, n)
	now := int64(0)
	for i := range all {
		now += rng.Int64N(1000)
		r := Record{
			Time: max(0, now-rng.Int64N(200)), Block: rng.Uint64(), Size: 4 << 20, Bytes: 4 << 20,
			Node: rng.Uint32N(3), Job: 7, Dataset: rng.Uint32N(2), Latency: 100 + rng.Uint32N(1<<rng.IntN(32)),
			Op: Op(rng.IntN(2)), Tier: shoal.Tier(rng.IntN(int(shoal.Tiers))),
		}
		switch rng.IntN(10) {
		case 0:
			r.Size, r.Bytes = rng.Uint32(), rng.Uint32()
		case 1:
			r.Bytes, r.Job = 0, rng.Uint32()
		}
		all[i] = r
	}
	return all
}

// written returns the trace of all, a frame each frameOf records besides those that are full.
func written(t testing.TB, all []Record, frameOf int) []byte {
	t.Helper()
	var dst bytes.Buffer
	w, err := NewWriter(&dst, Header{Start: 1_700_000_000_000_000, Share: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	name(t, w)
	for i, r := range all {
		if err := w.Append(r); err != nil {
			t.Fatalf("Append(%+v) = %v", r, err)
		}
		if (i+1)%frameOf == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dst.Bytes()
}

// name names the nodes and datasets of some.
func name(t testing.TB, w *Writer) {
	t.Helper()
	for i, s := range []string{"a", "b", "c"} {
		if got, err := w.Node(s); err != nil || got != uint32(i) {
			t.Fatalf("Node(%q) = %d, %v, want %d", s, got, err, i)
		}
	}
	for i, s := range []string{"/data", "/more"} {
		if got, err := w.Dataset(s); err != nil || got != uint32(i) {
			t.Fatalf("Dataset(%q) = %d, %v, want %d", s, got, err, i)
		}
	}
}

// read returns the records of b, and the error that ended them.
func read(b []byte) ([]Record, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var all []Record
	for {
		var rec Record
		if err := r.Next(&rec); err != nil {
			return all, err
		}
		all = append(all, rec)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 50_000} {
		for _, frameOf := range []int{1 << 30, 100} {
			want := some(n, 1)
			got, err := read(written(t, want, frameOf))
			if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
				t.Errorf("%d records in frames of %d: read %d, %v, want the same records and EOF", n, frameOf, len(got), err)
			}
		}
	}
}

// TestNames gives names in the middle of a trace, the same one twice, and impossible ones.
func TestNames(t *testing.T) {
	var dst bytes.Buffer
	w, err := NewWriter(&dst, Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(Record{}); err == nil || !strings.Contains(err.Error(), "has no name") {
		t.Errorf("Append of a record whose node has no name = %v, want an error that says so", err)
	}
	name(t, w)
	name(t, w)
	for i := range 3 {
		if err := w.Append(Record{Node: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", maxName)
	if i, err := w.Node(long); err != nil || i != 3 {
		t.Errorf("Node of %d bytes = %d, %v, want 3", maxName, i, err)
	}
	for _, bad := range []string{"", long + "x"} {
		if _, err := w.Dataset(bad); err == nil {
			t.Errorf("Dataset of %d bytes = nil, want an error", len(bad))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&dst)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Header(), (Header{Share: 1}); got != want {
		t.Errorf("Header() = %+v, want %+v", got, want)
	}
	var rec Record
	for err == nil {
		err = r.Next(&rec)
	}
	if want := []string{"a", "b", "c", long}; !slices.Equal(r.Nodes(), want) {
		t.Errorf("Nodes() = %q, want %q", r.Nodes(), want)
	}
	if want := []string{"/data", "/more"}; !slices.Equal(r.Datasets(), want) {
		t.Errorf("Datasets() = %q, want %q", r.Datasets(), want)
	}
}

// TestManyNames fills the table of nodes, over many frames.
func TestManyNames(t *testing.T) {
	var dst bytes.Buffer
	w, err := NewWriter(&dst, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxNames {
		if _, err := w.Node(strings.Repeat("n", 20) + hex.EncodeToString([]byte{byte(i >> 8), byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Node("one more"); err == nil {
		t.Error("the 65,537th Node = nil, want an error")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&dst)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Next(new(Record)); !errors.Is(err, io.EOF) {
		t.Fatalf("Next() = %v, want EOF", err)
	}
	if got := len(r.Nodes()); got != maxNames {
		t.Errorf("read %d names, want %d", got, maxNames)
	}
}

// TestGolden reads a trace that an earlier build wrote, and compares what is not up to the
// version of zstd with the bytes that this build writes.
func TestGolden(t *testing.T) {
	want := some(40, 7)
	stored, err := os.ReadFile("testdata/version1.trace")
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(stored)
	if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
		t.Errorf("testdata/version1.trace: %d records, %v, want the %d of some(40, 7)", len(got), err, len(want))
	}
	header := "53484f414c545243" + "01000000" + "01000000" + "00401e18240a0600" + "000000000000d03f" + "ed6a9869"
	if got := hex.EncodeToString(written(t, nil, 1)[:headerLen]); got != header {
		t.Errorf("header = %s, want %s", got, header)
	}

	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	name(t, w)
	for _, r := range []Record{
		{Time: 5, Block: 0x0102030405060708, Size: 300, Bytes: 300, Latency: 200},
		{Time: 4, Block: 1, Node: 2, Job: 3, Dataset: 1, Size: 301, Bytes: 9, Latency: 1, Op: Write, Tier: shoal.TierUFS},
		{Time: 6, Op: Costs, Node: 1, Size: 500_000, Bytes: 300_000},
	} {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	const entries = "030161" + "030162" + "030163" + "07052f64617461" + "07052f6d6f7265" +
		"40" + "0a" + "0807060504030201" + "ac02" + "c801" +
		"fe" + "01" + "02" + "03" + "01" + "0100000000000000" + "ad02" + "09" + "01" +
		"0b" + "04" + "01" + "a0c21e" + "e0a712"
	if got := hex.EncodeToString(w.raw); got != entries {
		t.Errorf("entries = %s,\nwant %s", got, entries)
	}
}

// TestCostsBetween reads records of costs among others, in frames of any length.
func TestCostsBetween(t *testing.T) {
	var want []Record
	for i, r := range some(50, 5) {
		want = append(want, r)
		if i%3 == 0 {
			want = append(want, Record{Time: r.Time + 7, Op: Costs, Node: uint32(i % 3), Size: uint32(i), Bytes: 500_000})
		}
	}
	for _, frameOf := range []int{1, 2, 7, 100} {
		if got, err := read(written(t, want, frameOf)); !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
			t.Errorf("frames of %d: %d records, %v, want the %d that were written", frameOf, len(got), err, len(want))
		}
	}
}

// TestCutOff cuts a trace everywhere: the frames before are read, and then the error says
// where the one begins that is not whole.
func TestCutOff(t *testing.T) {
	const frameOf = 8
	want := some(5*frameOf, 3)
	whole := written(t, want, frameOf)
	var ends []int // of header and frames
	for n := range 6 {
		ends = append(ends, len(written(t, want[:n*frameOf], frameOf)))
	}
	ends[0] = headerLen // without records names are flushed by Close
	for n := range whole {
		got, err := read(whole[:n])
		frames := len(ends) - 1
		for frames >= 0 && ends[frames] > n {
			frames--
		}
		if !slices.Equal(got, want[:max(0, frames)*frameOf]) {
			t.Fatalf("cut at %d: %d records, want %d", n, len(got), max(0, frames)*frameOf)
		}
		if frames >= 0 && ends[frames] == n {
			if !errors.Is(err, io.EOF) {
				t.Errorf("cut at %d, after a frame: %v, want EOF", n, err)
			}
			continue
		}
		where := "offset 0, record 0: "
		if frames >= 0 {
			where = located(ends[frames], frames*frameOf)
		}
		if !errors.Is(err, ErrTruncated) || !strings.HasPrefix(err.Error(), where) {
			t.Errorf("cut at %d: %v, want ErrTruncated, and %q", n, err, where)
		}
	}
}

func located(offset, record int) string {
	r := Reader{number: int64(record)}
	return strings.TrimSuffix(r.located(int64(offset), errors.New("")).Error(), " ")
}

// TestDamage flips each bit of a trace: never is another record read than was written, nor
// is damage taken for an end.
func TestDamage(t *testing.T) {
	want := some(16, 4)
	whole := written(t, want, 8)
	for i := range len(whole) * 8 {
		b := slices.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		got, err := read(b)
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("bit %d flipped: read other records", i)
		}
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, ErrTruncated) {
			t.Fatalf("bit %d flipped: %v, want an error that is no end", i, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	name(t, w)
	for _, r := range []Record{{Time: -1}, {Op: ops}, {Tier: shoal.Tiers}, {Node: 3}, {Dataset: 2}, {Node: math.MaxUint32}} {
		if err := w.Append(r); err == nil {
			t.Errorf("Append(%+v) = nil, want an error", r)
		}
	}
	if err := w.Append(Record{Node: 2, Dataset: 1}); err != nil {
		t.Errorf("Append after refused ones = %v", err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Errorf("Close() twice = %v", err)
	}
	if err := w.Append(Record{}); err == nil {
		t.Error("Append after Close = nil, want an error")
	}
	for _, share := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if _, err := NewWriter(io.Discard, Header{Share: share}); err == nil {
			t.Errorf("NewWriter of share %v = nil, want an error", share)
		}
	}
}

// failing takes n writes.
type failing int

var errFull = errors.New("no space left")

func (f *failing) Write(b []byte) (int, error) {
	if *f == 0 {
		return 0, errFull
	}
	*f--
	return len(b), nil
}

func TestWriteErrorStays(t *testing.T) {
	if _, err := NewWriter(new(failing), Header{}); !errors.Is(err, errFull) {
		t.Errorf("NewWriter = %v, want %v", err, errFull)
	}
	dst := failing(1)
	w, err := NewWriter(&dst, Header{})
	if err != nil {
		t.Fatal(err)
	}
	name(t, w)
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Errorf("Flush() = %v, want %v", err, errFull)
	}
	dst = 9
	if err := w.Append(Record{}); !errors.Is(err, errFull) {
		t.Errorf("Append after a failed Flush = %v, want %v", err, errFull)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close after a failed Flush = %v, want %v", err, errFull)
	}
}

// TestSampled fixes the rule, which is part of the format, and what it is for.
func TestSampled(t *testing.T) {
	for hash, want := range map[uint64]uint64{0: 0xe220a8397b1dcdaf, 1: 0x910a2dec89025cc1, 1 << 63: 0x481ec0a212a9f3db} {
		if got := scramble(hash); got != want {
			t.Errorf("scramble(%#x) = %#x, want %#x", hash, got, want)
		}
	}
	const n = 1 << 20
	for _, share := range []float64{0.001, 0.01, 0.5} {
		// Hashes of one shard, and of one bucket: the share of them is the same.
		for _, shift := range []int{0, 44} {
			kept := 0
			for i := range uint64(n) {
				if Sampled(i<<shift, share) {
					kept++
					if !Sampled(i<<shift, share*1.5) {
						t.Fatalf("Sampled(%#x) of %v, but not of %v", i<<shift, share, share*1.5)
					}
				}
			}
			mean := share * n
			if off := math.Abs(float64(kept) - mean); off > 5*math.Sqrt(mean) {
				t.Errorf("share %v, shift %d: kept %d of %d, want about %.0f", share, shift, kept, n, mean)
			}
		}
	}
	for share, want := range map[float64]bool{1: true, 2: true, 0: false, -1: false, math.Inf(1): true} {
		if got := Sampled(math.MaxUint64, share); got != want {
			t.Errorf("Sampled(max, %v) = %v, want %v", share, got, want)
		}
	}
	if Sampled(0, math.NaN()) {
		t.Error("Sampled(0, NaN) = true, want false")
	}
}
