package trace

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// lcsHeader returns a header of this length with a version.
func lcsHeader(length int, version, requests uint64) []byte {
	b := make([]byte, length)
	binary.LittleEndian.PutUint64(b, lcsMagic)
	binary.LittleEndian.PutUint64(b[8:], version)
	binary.LittleEndian.PutUint64(b[24:], requests)
	binary.LittleEndian.PutUint64(b[length-8:], lcsMagic)
	return b
}

// lcsFormatHeader returns a header with a format string. Numbers are those of its fields from
// 248 on.
func lcsFormatHeader(format string, requests uint64, fields, size uint32, numbers ...byte) []byte {
	b := make([]byte, lcsShortHeader)
	binary.LittleEndian.PutUint64(b, lcsMagic)
	copy(b[8:], format)
	copy(b[248:], numbers)
	binary.LittleEndian.PutUint64(b[488:], requests)
	binary.LittleEndian.PutUint32(b[1000:], fields)
	binary.LittleEndian.PutUint32(b[1004:], size)
	binary.LittleEndian.PutUint64(b[lcsShortHeader-8:], lcsMagic)
	return b
}

// lcsRequest appends a request of this version.
func lcsRequest(b []byte, version int, time uint32, id, size uint64, op byte, tenant uint32) []byte {
	from := len(b)
	b = binary.LittleEndian.AppendUint32(b, time)
	b = binary.LittleEndian.AppendUint64(b, id)
	if version < 3 {
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
	} else {
		b = binary.LittleEndian.AppendUint64(b, size)
	}
	if version > 1 {
		b = append(b, op, byte(tenant), byte(tenant>>8), byte(tenant>>16))
	}
	if version > 2 {
		b = binary.LittleEndian.AppendUint32(b, 60) // lifetime
	}
	b = binary.LittleEndian.AppendUint64(b, ^uint64(0)) // next request
	// The lengths that libCacheSim asserts.
	length := []int{0, 24, 28, 36, 40, 44, 52, 68, 100}[version]
	return append(b, make([]byte, length-(len(b)-from))...)
}

func TestLCSVersions(t *testing.T) {
	for version := 1; version <= 8; version++ {
		for _, header := range []int{lcsShortHeader, lcsLongHeader} {
			if header == lcsShortHeader && version > 2 {
				continue
			}
			b := lcsHeader(header, uint64(version), 5)
			b = lcsRequest(b, version, 10, 1<<60, 4096, 1, 0x010203)
			b = lcsRequest(b, version, 11, 2, 0, 1, 7)
			b = lcsRequest(b, version, 12, 3, 7, 13, 7)
			b = lcsRequest(b, version, 13, 4, 1, 9, 7)
			b = lcsRequest(b, version, 13, 5, 1<<32, 0, 0x010203)
			want := []Record{
				{Block: 1 << 60, Size: 4096, Bytes: 4096},
				{Time: 2e6, Block: 3, Size: 7, Bytes: 7, Op: live.Write, Dataset: 1},
				{Time: 3e6, Block: 5, Size: 1<<32 - 1, Bytes: 1<<32 - 1},
			}
			skipped, clipped, names := int64(2), int64(1), []string{"tenant 66051", "tenant 7"}
			switch version {
			case 1: // no operations, no tenants, and 2^32 does not fit
				want[1].Op, want[1].Dataset, names = 0, 0, []string{"all"}
				want[2] = Record{Time: 3e6, Block: 4, Size: 1, Bytes: 1}
				clipped = 0
			case 2:
				want, skipped, clipped = want[:2], 3, 0
			}
			got, about, err := decode(b, LCS, Options{}, 2)
			equal(t, "lcs", got, want)
			if err != nil || about.Start != 10e6 || about.Skipped != skipped || about.Clipped != clipped || !slices.Equal(about.Datasets, names) {
				t.Errorf("version %d, header of %d: %+v, %v, want %d skipped, %d clipped, datasets %q", version, header, about, err, skipped, clipped, names)
			}
		}
	}
}

func TestLCSFormatString(t *testing.T) {
	// time, size as two bytes, a flag, id, next, tenant as two bytes, operation
	b := lcsFormatHeader("<IHcQqHB", 2, 7, 26, 4, 2, 1, 0, 5, 7, 0, 6)
	for i := range 2 {
		b = binary.LittleEndian.AppendUint32(b, uint32(100+i))
		b = binary.LittleEndian.AppendUint16(b, uint16(50+i))
		b = append(b, 0xee)
		b = binary.LittleEndian.AppendUint64(b, uint64(i+1)<<40)
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(9-i))
		b = append(b, byte(12+i)) // read, write
	}
	got, about, err := decode(b, LCS, Options{}, 10)
	equal(t, "lcs with a format string", got, []Record{
		{Block: 1 << 40, Size: 50, Bytes: 50},
		{Time: 1e6, Block: 2 << 40, Size: 51, Bytes: 51, Dataset: 1, Op: live.Write},
	})
	if want := []string{"tenant 9", "tenant 8"}; err != nil || !slices.Equal(about.Datasets, want) {
		t.Errorf("datasets %q, %v, want %q and no error", about.Datasets, err, want)
	}
	// What libCacheSim's converter writes.
	b = lcsFormatHeader("<IQIQ", 1, 4, 24, 2, 3, 1, 0, 4)
	got, _, err = decode(request(b, 5, 6, 7, -1), LCS, Options{}, 10)
	equal(t, "lcs of <IQIQ", got, []Record{{Block: 6, Size: 7, Bytes: 7}})
	if err != nil {
		t.Errorf("lcs of <IQIQ: %v, want no error", err)
	}
}

func TestLCSNonsense(t *testing.T) {
	one := request(nil, 5, 6, 7, -1)
	bad := lcsHeader(lcsLongHeader, 1, 0)
	bad[lcsLongHeader-1] = 0
	tests := []struct {
		name    string
		b       []byte
		records int
		want    string
	}{
		{"no magic", requests(500), 0, "offset 0: it looks like a binary file, not lcs"},
		{"only the magic", lcsHeader(lcsShortHeader, 1, 0)[:8], 0, "offset 0: lcs header: trace is cut off within it"},
		{"second magic wrong", bad, 0, "it does not end with 0x123456789abcdef0"},
		{"version 9", lcsHeader(lcsLongHeader, 9, 0), 0, "lcs of version 9 with a header of 8192 bytes is not known"},
		{"version 0", lcsHeader(lcsLongHeader, 0, 0), 0, "lcs of version 0"},
		{"version 3 before its time", lcsHeader(lcsShortHeader, 3, 0), 0, "lcs of version 3 with a header of 1024 bytes"},
		{"negative requests", lcsHeader(lcsLongHeader, 1, 1<<63), 0, "it says there are -9223372036854775808 requests"},
		{"2^60 requests", append(lcsHeader(lcsLongHeader, 1, 1<<60), one...), 1, "offset 8216, record 1: trace is cut off: its header says that there are 1152921504606846976 requests"},
		{"none of two requests", lcsHeader(lcsShortHeader, 2, 2), 0, "offset 1024, record 0: trace is cut off"},
		{"a part of one", append(lcsHeader(lcsShortHeader, 1, 0), one[:23]...), 0, "offset 1024, record 0: trace is cut off: 23 bytes are left where a record has 24"},
		{"more than it says", append(lcsHeader(lcsShortHeader, 1, 1), append(one, one...)...), 2, ""},
		{"huge size", lcsRequest(lcsHeader(lcsLongHeader, 3, 1), 3, 1, 2, maxSize+1, 0, 0), 0, "offset 8192, record 0: trace is damaged: a size of 1099511627777 bytes"},
		{"unknown letter", lcsFormatHeader("<IQxQ", 1, 4, 24, 2, 3, 1), 0, `a field 'x' in its format "IQxQ" is not supported`},
		{"float", lcsFormatHeader("<dQIQ", 1, 4, 28, 2, 3, 1), 0, `a field 'd' in its format "dQIQ" is not supported`},
		{"size of a request", lcsFormatHeader("<IQIQ", 1, 4, 25, 2, 3, 1), 0, "it says a request has 4 fields in 25 bytes"},
		{"number of fields", lcsFormatHeader("<IQIQ", 1, 1<<31, 24, 2, 3, 1), 0, "it says a request has 2147483648 fields"},
		{"no such field", lcsFormatHeader("<IQIQ", 1, 4, 24, 2, 5, 1), 0, "it names field 5 of 4"},
		{"no id", lcsFormatHeader("<IQIQ", 1, 4, 24, 0, 3, 1), 0, "lcs without id, size or time"},
		{"no fields", lcsFormatHeader("<", 1, 0, 0), 0, "lcs without id, size or time"},
		{"late", append(lcsFormatHeader("<QQI", 1, 3, 20, 2, 3, 1), make([]byte, 7)...), 0, "7 bytes are left"},
		{"later than can be", append(lcsFormatHeader("<QQI", 1, 3, 20, 2, 3, 1), slices.Repeat([]byte{0xff}, 20)...), 0, "a time of 18446744073709551615 s"},
	}
	for _, tt := range tests {
		got, _, err := decode(tt.b, LCS, Options{}, 64)
		if len(got) != tt.records || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d records, %v, want %d and %q", tt.name, len(got), err, tt.records, tt.want)
		}
	}
}

// TestLCSCutOff cuts a trace of version 2 everywhere: its header says how much is missing.
func TestLCSCutOff(t *testing.T) {
	const requests, size = 10, 28
	whole := lcsHeader(lcsShortHeader, 2, requests)
	for i := range requests {
		whole = lcsRequest(whole, 2, uint32(i), uint64(i), 5, 0, 1)
	}
	want, _, err := decode(whole, LCS, Options{}, 100)
	if err != nil || len(want) != requests {
		t.Fatalf("whole trace: %d records, %v", len(want), err)
	}
	for n := 8; n < len(whole); n++ {
		got, _, err := decode(whole[:n], LCS, Options{}, 3)
		records := max(0, n-lcsShortHeader) / size
		equal(t, "cut off", got, want[:records])
		where := at(lcsShortHeader+records*size, records)
		if n < lcsShortHeader {
			where = "offset 0: "
		}
		if !errors.Is(err, live.ErrTruncated) || !strings.Contains(err.Error(), where) {
			t.Fatalf("cut at %d: %v, want ErrTruncated at %q", n, err, where)
		}
	}
}

func FuzzLCS(f *testing.F) {
	f.Add("", []byte{}, uint64(2), uint64(1), lcsRequest(nil, 2, 1, 2, 3, 4, 5))
	f.Add("", []byte{}, uint64(8), uint64(1<<60), lcsRequest(nil, 8, 1, 2, 3, 4, 5))
	f.Add("IQIQ", []byte{2, 3, 1, 0, 4}, uint64(4), uint64(24), request(nil, 5, 6, 7, -1))
	f.Add("", []byte{}, uint64(0), uint64(0), lcsFormatHeader("<IQIQ", 1, 4, 24, 2, 3, 1, 0, 4))
	// The header is made of its parts, since few inputs of its length would be one.
	f.Fuzz(func(t *testing.T, format string, numbers []byte, version, requests uint64, b []byte) {
		checkDecode(t, append(lcsHeader(lcsShortHeader, version, requests), b...), LCS, Options{})
		checkDecode(t, append(lcsHeader(lcsLongHeader, version, requests), b...), LCS, Options{})
		format, numbers = format[:min(len(format), 239)], numbers[:min(len(numbers), 8)]
		checkDecode(t, append(lcsFormatHeader("<"+format, requests, uint32(version), uint32(requests), numbers...), b...), LCS, Options{})
		checkDecode(t, b, LCS, Options{})
	})
}

func BenchmarkLCS(b *testing.B) {
	trace := lcsHeader(lcsLongHeader, 3, 0)
	for i := range 1 << 18 {
		trace = lcsRequest(trace, 3, uint32(i), uint64(i), 5, 1, uint32(i&7))
	}
	benchmark(b, trace, LCS)
}
