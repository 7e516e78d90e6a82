package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// framed returns a trace of one frame with these entries, whose header is h but for lengths and
// sums that are 0 there.
func framed(t testing.TB, entries []byte, h frameHeader) []byte {
	t.Helper()
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	packed := packer.EncodeAll(entries, nil)
	if h.raw == 0 {
		h.raw = len(entries)
	}
	if h.packed == 0 {
		h.packed = len(packed)
	}
	h.sum = sum(packed)
	var b [frameHeaderLen]byte
	h.put(b[:])
	return slices.Concat(appendHeader(nil, Header{Share: 1}), b[:], packed)
}

// TestForged gives a Reader frames whose sums are right and whose contents are not.
func TestForged(t *testing.T) {
	names := []byte{tagNameOfNode, 1, 'n', tagNameOfDataset, 1, 'd'}
	block := make([]byte, 8)
	good := slices.Concat(names, []byte{0, 2}, block, []byte{0})
	tests := []struct {
		name    string
		entries []byte
		header  frameHeader
		records int
		want    string // part of the error
	}{
		{"good", good, frameHeader{records: 1}, 1, "EOF"},
		{"record without names", good[len(names):], frameHeader{records: 1}, 0, "has no name"},
		{"more records than it says", good, frameHeader{records: 0}, 0, "more records than it says"},
		{"fewer records than it says", good, frameHeader{records: 3}, 1, "2 records less"},
		{"raw length wrong", good, frameHeader{raw: len(good) + 1, records: 1}, 0, "unpacked, and says"},
		{"too many bytes", make([]byte, maxRaw+1), frameHeader{records: 1}, 0, "is impossible"},
		{"more bytes than it says", make([]byte, maxRaw+1), frameHeader{raw: maxRaw, records: 1}, 0, "unpack a frame"},
		{"a bomb", make([]byte, 16<<20), frameHeader{raw: maxRaw, records: 1}, 0, "unpack a frame"},
		{"packed too long", good, frameHeader{packed: maxPacked + 1, records: 1}, 0, "is impossible"},
		{"more records than bytes", good, frameHeader{records: len(good) + 1}, 0, "is impossible"},
		{"no such tag", []byte{0xff}, frameHeader{records: 1}, 0, "no entry of tag 255"},
		{"empty name", []byte{tagNameOfNode, 0}, frameHeader{}, 0, "a name that is empty"},
		{"name too long", append([]byte{tagNameOfNode, 0x80, 2}, make([]byte, 256)...), frameHeader{}, 0, "too large"},
		{"name cut off", []byte{tagNameOfNode, 3, 'n'}, frameHeader{}, 0, "an entry is cut off"},
		{"record cut off", good[:len(good)-1], frameHeader{records: 1}, 0, "an entry is cut off"},
		{"block cut off", good[:len(good)-3], frameHeader{records: 1}, 0, "an entry is cut off"},
		{"negative time", slices.Concat(names, []byte{0, 1}, block, []byte{0}), frameHeader{records: 1}, 0, "before the trace began"},
		{"latency too large", slices.Concat(names, []byte{0, 2}, block, binary.AppendUvarint(nil, 1<<32)), frameHeader{records: 1}, 0, "too large"},
		{"varint too long", slices.Concat(names, []byte{0}, bytes.Repeat([]byte{0xff}, 11), block), frameHeader{records: 1}, 0, "too large"},
		{"node without name", slices.Concat(names, []byte{tagNode, 2, 1}, block, []byte{0}), frameHeader{records: 1}, 0, "node 1 has no name"},
	}
	for _, tt := range tests {
		got, err := read(framed(t, tt.entries, tt.header))
		if len(got) != tt.records || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d records, %v, want %d and an error with %q", tt.name, len(got), err, tt.records, tt.want)
		}
		if tt.want != "EOF" && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v is no ErrDamaged", tt.name, err)
		}
	}
}

// TestOtherFiles gives a Reader what is no trace of this version.
func TestOtherFiles(t *testing.T) {
	changed := func(at int, v uint32) []byte {
		b := appendHeader(nil, Header{Share: 1})
		binary.LittleEndian.PutUint32(b[at:], v)
		binary.LittleEndian.PutUint32(b[headerLen-4:], sum(b[:headerLen-4]))
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "offset 0, record 0: trace is cut off within the header"},
		{"text", []byte("1,2,3\n4,5,6\n"), `trace is damaged: it does not begin with "SHOALTRC"`},
		{"long text", bytes.Repeat([]byte("1,2,3\n"), 100), `trace is damaged: it does not begin with "SHOALTRC"`},
		{"version 2", changed(8, 2), "is of version 2"},
		{"rule 9", changed(12, 9), "sampled by rule 9"},
		{"share 0", changed(28, 0), "its share is 0"},
	}
	for _, tt := range tests {
		if _, err := NewReader(bytes.NewReader(tt.b)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewReader(%s) = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// TestReaderMemory reads the bomb of a frame that unpacks to more than it may: what is
// allocated is bounded by the format, not by the file.
func TestReaderMemory(t *testing.T) {
	bomb := framed(t, make([]byte, 32<<20), frameHeader{raw: maxRaw, records: 1})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err := read(bomb)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 || !errors.Is(err, ErrDamaged) {
		t.Errorf("reading %d bytes that unpack to 32 MiB allocated %d bytes and ended with %v, want at most 4 MiB and ErrDamaged", len(bomb), got, err)
	}
}

func FuzzShoal(f *testing.F) {
	f.Add(written(f, some(50, 1), 20))
	f.Add(written(f, nil, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := NewReader(bytes.NewReader(b)); err == nil {
			checkRead(t, r)
		}
	})
}

// FuzzEntries tries inputs as the entries of a frame: its sums keep nearly all of them out of
// FuzzShoal's frames.
func FuzzEntries(f *testing.F) {
	f.Add([]byte{tagNameOfNode, 1, 'n', tagNameOfDataset, 1, 'd', 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{tagNameOfNode, 1, 'n', tagNameOfDataset, 1, 'd', 0xfc, 2, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 0xff, 0xff, 3})
	f.Add([]byte{tagNameOfNode, 1, 'n', tagCosts, 2, 0, 10, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRead(t, &Reader{src: bytes.NewReader(nil), raw: b, left: (len(b) + 4) / 5})
	})
}

// checkRead reads all of r: its records are possible ones, and an error stays.
func checkRead(t *testing.T, r *Reader) {
	var rec Record
	err := r.Next(&rec)
	for ; err == nil; err = r.Next(&rec) {
		dataset := rec.Op == Costs || int(rec.Dataset) < len(r.Datasets())
		if int(rec.Node) >= len(r.Nodes()) || !dataset || rec.Time < 0 || rec.Op >= ops {
			t.Fatalf("Next read the impossible %+v", rec)
		}
	}
	if again := r.Next(&rec); !errors.Is(again, err) {
		t.Fatalf("Next() = %v after %v", again, err)
	}
	if !errors.Is(err, io.EOF) && !strings.HasPrefix(err.Error(), "offset ") {
		t.Fatalf("Next() = %v, want an error that says where", err)
	}
}
