package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A sized is a Sink with one buffer for all chunks of a block of length bytes, which it
// takes as they are.
type sized struct {
	buf    []byte
	length int
}

func newSized(length int) *sized { return &sized{make([]byte, shoal.ChunkSize), length} }

func (s *sized) Chunk(i int) []byte           { return s.buf[:shoal.ChunkLen(s.length, i)] }
func (s *sized) Begin()                       {}
func (s *sized) Arrived(int, shoal.Sum) error { return nil }

// cpu reports the CPU time both ends used per gigabyte: on a shared machine it says more
// than the time that passed.
func cpu(b *testing.B, size int) {
	b.Helper()
	var before, after syscall.Rusage
	used := func(r *syscall.Rusage) float64 {
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	start := used(&before)
	b.Cleanup(func() { b.ReportMetric((used(&after)-start)/(float64(b.N)*float64(size)/1e9), "cpu-s/GB") })
}

// benchSizes are a small file and a whole block.
func benchSizes() []struct {
	name string
	size int
} {
	return []struct {
		name string
		size int
	}{{"100KiB", 100 << 10}, {"4MiB", shoal.BlockSize}}
}

// BenchmarkHostFetch fetches blocks over loopback, both ends in this process, one at a
// time and, with GOMAXPROCS=2, four at once. Its measure is BenchmarkRaw.
func BenchmarkHostFetch(b *testing.B) {
	for _, s := range benchSizes() {
		b.Run(s.name, func(b *testing.B) {
			x, y := benchPair(b, s.size)
			sink := newSized(s.size)
			for b.Loop() {
				if err := x.Fetch(b.Context(), y.id(), testKey(0), Part{Length: s.size}, sink); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/parallel", func(b *testing.B) {
			x, y := benchPair(b, s.size)
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				sink := newSized(s.size)
				for pb.Next() {
					if err := x.Fetch(b.Context(), y.id(), testKey(0), Part{Length: s.size}, sink); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// benchPair returns two connected hosts, the second of which holds a block of size bytes.
func benchPair(b *testing.B, size int) (x, y *node) {
	x, y = startPair(b, Config{})
	y.store.put(testKey(0), testData(1, size))
	if err := x.Fetch(b.Context(), y.id(), testKey(0), Part{Length: size}, newSized(size)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	cpu(b, size)
	b.ResetTimer()
	return x, y
}

func BenchmarkHostCall(b *testing.B) {
	for _, size := range []int{100, 64 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			x, y := startPair(b, Config{})
			request := testData(1, size)
			b.SetBytes(int64(2 * size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Call(b.Context(), y.id(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRaw is the measure of BenchmarkHostFetch: ask with 28 bytes, get the block.
func BenchmarkRaw(b *testing.B) {
	for _, kind := range []string{"tcp", "tls"} {
		for _, s := range benchSizes() {
			b.Run(kind+"/"+s.name, func(b *testing.B) {
				size := s.size
				client, server := rawPair(b, kind == "tls")
				done := make(chan struct{})
				go func() {
					defer close(done)
					request, data := make([]byte, blockRequestLen), make([]byte, size)
					for {
						if _, err := io.ReadFull(server, request); err != nil {
							return
						}
						if _, err := server.Write(data); err != nil {
							return
						}
					}
				}()
				request, data := make([]byte, blockRequestLen), make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				cpu(b, size)
				for b.Loop() {
					if _, err := client.Write(request); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(client, data); err != nil {
						b.Fatal(err)
					}
				}
				_ = client.Close()
				<-done
			})
		}
	}
}

// rawPair returns the two ends of a loopback connection.
func rawPair(b *testing.B, secure bool) (client, server net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	if secure {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
		if err != nil {
			b.Fatal(err)
		}
		server = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		client = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	}
	b.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}
