package s3_test

import (
	"io"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs/s3"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// BenchmarkFSOpen reads one block again and again from a real server on loopback.
func BenchmarkFSOpen(b *testing.B) {
	server := ufstest.StartS3(b, ufstest.S3Config{})
	server.Put(b, "shoal", "file", make([]byte, shoal.BlockSize))
	f, err := s3.New(b.Context(), serverConfig(server))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat(b.Context(), "file")
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name   string
		length int64
	}{{"64KiB", shoal.ChunkSize}, {"4MiB", shoal.BlockSize}} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(bench.length)
			buf := make([]byte, shoal.ChunkSize)
			for b.Loop() {
				body, err := f.Open(b.Context(), "file", info.Version, 0, bench.length)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(onlyWriter{}, body, buf); err != nil {
					b.Fatal(err)
				}
				_ = body.Close()
			}
		})
	}
}

// onlyWriter discards without the ReadFrom that would choose its own buffer.
type onlyWriter struct{}

func (onlyWriter) Write(p []byte) (int, error) { return len(p), nil }
