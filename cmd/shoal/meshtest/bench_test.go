package meshtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// Every figure here is taken beside the plain tool's, in turns, so that both meet the same
// machine in the same minutes. What counts is the ratio; nothing is asserted of it.

// rounds is how often each pair is measured. A figure is the median.
const rounds = 5

// BenchmarkMesh measures one agent, its mount and a real S3 server as users do, from other
// processes, and prints a table at the end. -short takes files of an eighth of the size
// and number. docs/benchmarks.md tells how to read it.
func BenchmarkMesh(b *testing.B) {
	b.Cleanup(func() {
		if b.Skipped() { // which go test tells with -v alone
			fmt.Fprintln(os.Stderr, "SKIP: BenchmarkMesh: needs root, /dev/fuse and a real S3 server: run `make bench` as root")
		}
	})
	m := newMeshBench(b)
	b.Run("sequential/cold", m.cold)
	for _, w := range []way{
		{"sequential", readSequential, false},
		{"four readers", readByFour, false},
		{"mapped", scanMapped, false},
		{"sequential, passthrough off", readSequential, true},
	} {
		b.Run("large/"+w.name, func(b *testing.B) { m.large(b, w) })
	}
	m.smallRows(b)
	b.Run("loader", m.loader)
	b.Run("rivals", m.rivals)
	m.print()
}

// A meshBench is a lab of one node and what has been measured in it.
type meshBench struct {
	lab   *lab
	node  *labNode
	big   object
	small []object
	plain string // directory with copies, on the disk of the cache
	rows  []row
	notes []string // printed below the rows

	shuffles uint64 // that loaders have read
}

// newMeshBench starts an S3 server that nodes reach directly, without the counting proxy:
// the proxy's CPU time would be added to both sides and flatter the ratio.
func newMeshBench(b *testing.B) *meshBench {
	b.Helper()
	l := newLab(b, 1)
	l.s3 = ufstest.StartS3(b, ufstest.S3Config{
		Listen: s3Addr + ":9001", Command: []string{"nsenter", "--net=/run/netns/" + l.hub}, Buckets: []string{bucket},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialIn(ctx, l.hub, network, address)
		},
	})
	m := &meshBench{lab: l, node: l.nodes[0]}
	m.plain = filepath.Join(m.node.home, "plain")
	if err := os.Mkdir(m.plain, 0o700); err != nil {
		b.Fatal(err)
	}
	m.node.setTTL("1h") // what is timed is reading, not asking whether names are still true
	m.node.setEndpoint(l.s3.Endpoint)
	m.node.mountSmallFiles()
	size, files := 4*gib, 20_000
	if testing.Short() {
		size, files = size/8, files/8
	}
	m.big = l.upload(b, 1, func(int) string { return "big.bin" }, size)[0]
	m.small = l.upload(b, 2, func(i int) string { return fmt.Sprintf("small/%05d.jpg", i) }, small(files)...)
	return m
}

// cold reads the big file from the bucket: the SDK into a file, dd through the mount of an
// agent that has just been started with an empty cache.
func (m *meshBench) cold(b *testing.B) {
	size := int64(m.big.size)
	file := filepath.Join(m.plain, "downloaded")
	served := filepath.Join(m.lab.s3.Dir, bucket, m.big.key)
	r := row{
		name: fmt.Sprintf("%d MiB sequential, cold", size/mib), plain: "AWS SDK", unit: "MB/s", ratio: "x_sdk",
		work: float64(size) / 1e6, bytes: float64(size),
	}
	r.measure(b, [2]func() sample{func() sample {
		if err := os.RemoveAll(file); err != nil {
			b.Fatal(err)
		}
		m.prepare(b, served)
		return m.download(b, file)
	}, func() sample {
		m.restartEmpty(b)
		m.prepare(b, served)
		return m.dd(b, m.node.path(m.big.key))
	}})
	if got := m.node.status(b).Fetches.UFSBytes; got < size {
		b.Errorf("the cold read took %d bytes from the UFS, want %d", got, size)
	}
	m.rows = append(m.rows, r)
}

// fill has all blocks of the objects in the node's store, and their bytes verified.
func (m *meshBench) fill(b *testing.B, objects ...object) {
	b.Helper()
	if m.node.agent == nil || m.node.agent.ended() {
		m.node.start(b, 1)
	}
	if _, err := os.ReadDir(filepath.Dir(m.node.path(objects[0].key))); err != nil {
		b.Fatal(err)
	}
	m.node.readAll(objects, 1, func() {}).mustBe(b, len(objects))
}

// mustBeLocal fails the benchmark when a read that was to be warm reached the UFS.
func (m *meshBench) mustBeLocal(b *testing.B, before int64) {
	b.Helper()
	if got := m.node.status(b).Fetches.UFSBytes; got != before {
		b.Errorf("the warm reads took %d bytes from the UFS, want 0", got-before)
	}
}

// copyPlain copies objects to the plain directory.
func (m *meshBench) copyPlain(b *testing.B, objects ...object) {
	b.Helper()
	for _, o := range objects {
		to := filepath.Join(m.plain, o.key)
		if _, err := os.Stat(to); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := copyFile(to, filepath.Join(m.lab.s3.Dir, bucket, o.key)); err != nil {
			b.Fatal(err)
		}
	}
}

// restartEmpty starts the agent anew with an empty cache directory.
func (m *meshBench) restartEmpty(b *testing.B) {
	b.Helper()
	if m.node.agent != nil {
		m.node.stop(b)
	}
	if err := os.RemoveAll(filepath.Join(m.node.home, "cache")); err != nil {
		b.Fatal(err)
	}
	m.node.start(b, 1)
}

// prepare brings the kernel to the same state for each side: nothing left to write back,
// and a page cache that holds the files the S3 server serves from, if any, and nothing else.
func (m *meshBench) prepare(b *testing.B, served ...string) {
	b.Helper()
	unix.Sync()
	dropCaches(b)
	for _, name := range served {
		if err := copyFile(os.DevNull, name); err != nil {
			b.Fatal(err)
		}
	}
}

// dd reads a file with dd, from the node's namespace.
func (m *meshBench) dd(b *testing.B, name string) sample {
	b.Helper()
	return m.command(b, "dd", "if="+name, "of=/dev/null", "bs=1M", "status=none")
}

// copyFile copies a file, and returns once its bytes are the kernel's.
func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, mib)) // no reflink, no sendfile
	return err
}
