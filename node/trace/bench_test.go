package trace

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkWriterAppend includes packing and, every 17,000 records or so, a write to nowhere.
func BenchmarkWriterAppend(b *testing.B) {
	all := some(1<<16, 1)
	for i := range all { // as agents see them: whole blocks, most of them local
		all[i].Size, all[i].Bytes, all[i].Job = 4<<20, 4<<20, 7
		all[i].Node, all[i].Dataset, all[i].Op = 1, 1, Read
		all[i].Latency = 100 + all[i].Latency%400
	}
	var n counting
	w, err := NewWriter(&n, Header{})
	if err != nil {
		b.Fatal(err)
	}
	name(b, w)
	records := 0
	b.ReportAllocs()
	for b.Loop() {
		r := all[records%len(all)]
		r.Time += int64(records/len(all)) * 1e9
		if err := w.Append(r); err != nil {
			b.Fatal(err)
		}
		records++
	}
	b.ReportMetric(float64(n)/float64(records), "B/record")
}

type counting int64

func (c *counting) Write(b []byte) (int, error) {
	*c += counting(len(b))
	return len(b), nil
}

func BenchmarkReaderNext(b *testing.B) {
	all := some(1<<18, 1)
	trace := written(b, all, 1<<30)
	b.ReportAllocs()
	b.SetBytes(int64(len(trace)))
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(trace))
		if err != nil {
			b.Fatal(err)
		}
		var rec Record
		for err = r.Next(&rec); err == nil; err = r.Next(&rec) {
			continue
		}
		if err != io.EOF { //nolint:errorlint // Next returns it bare
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(all))/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

func BenchmarkSampled(b *testing.B) {
	kept, hash := 0, uint64(0)
	for b.Loop() {
		hash += 0x1234567
		if Sampled(hash, 0.01) {
			kept++
		}
	}
	if kept > b.N/2 {
		b.Fatalf("kept %d of %d", kept, b.N)
	}
}
