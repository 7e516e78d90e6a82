package fuse

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkMountRead reads one large file in order, in pieces of 1 MiB: from a mount
// whose child holds it in memory, with several readaheads, then from the page cache,
// then from a plain file in the page cache.
func BenchmarkMountRead(b *testing.B) {
	const size = 256 << 20
	c := startChild(b, mountDir(b))
	c.ask(fmt.Sprintf("big big %d", size))
	buf := make([]byte, 1<<20)
	run := func(name, path string, before func(*testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				before(b)
				b.StartTimer()
				readWhole(b, path, buf, size)
			}
		})
	}
	for _, kib := range []int{128, 1024, 4096, 16384} {
		setReadAhead(b, c.path, kib)
		run(fmt.Sprintf("mount/readahead=%dKiB", kib), c.file("big"), func(b *testing.B) { uncache(b, c.file("big")) })
	}
	run("cached", c.file("big"), func(*testing.B) {})
	plain := filepath.Join(b.TempDir(), "plain")
	if err := os.WriteFile(plain, noise(1, size), 0o600); err != nil {
		b.Fatal(err)
	}
	run("plain", plain, func(*testing.B) {})
}

func readWhole(b *testing.B, path string, buf []byte, size int) {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	// The wrappers keep io.Copy from anything cleverer than reading.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
	if n != int64(size) || err != nil {
		b.Fatalf("read %d bytes, %v, want %d", n, err, size)
	}
}

// BenchmarkMountFiles opens, reads and closes files of 100 KB in shuffled order, with
// their bytes out of the page cache ("mount") and in it ("cached").
func BenchmarkMountFiles(b *testing.B) {
	const count, size = 2000, 100_000
	c := startChild(b, mountDir(b))
	paths := make([]string, count)
	for i := range paths {
		c.ask(fmt.Sprintf("big small-%d %d", i, size))
		paths[i] = c.file(fmt.Sprintf("small-%d", i))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(count, func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	buf := make([]byte, 128<<10)
	for _, pass := range []string{"mount", "cached"} {
		b.Run(pass, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				for _, path := range paths {
					if pass == "mount" {
						uncache(b, path)
					}
				}
				b.StartTimer()
				for _, path := range paths {
					readWhole(b, path, buf, size)
				}
			}
			b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}

// uncache drops the bytes of one file from the page cache.
func uncache(b *testing.B, path string) {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
}

func setReadAhead(b *testing.B, path string, kib int) {
	b.Helper()
	all, err := mounts()
	if err != nil {
		b.Fatal(err)
	}
	m, _ := topmost(all, path)
	file := fmt.Sprintf("/sys/class/bdi/0:%d/read_ahead_kb", m.minor)
	if err := os.WriteFile(file, []byte(strconv.Itoa(kib)), 0); err != nil {
		b.Skipf("SKIPPED, readahead cannot be set: %v", err)
	}
}
