package meshtest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

// An object is one file of the bucket and what its bytes must hash to.
type object struct {
	key  string
	size int
	sum  uint64 // xxh3
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// contents returns the bytes of an object: the same for the same seed.
func contents(seed uint64, size int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

// upload puts objects of the given sizes into the bucket and returns them.
func (l *lab) upload(t testing.TB, seed uint64, name func(i int) string, sizes ...int) []object {
	t.Helper()
	objects := make([]object, len(sizes))
	var g errgroup.Group
	g.SetLimit(8)
	for i, size := range sizes {
		g.Go(func() error {
			data := contents(seed+uint64(i)<<20, size)
			objects[i] = object{name(i), size, xxh3.Hash(data)}
			return l.s3.Do(http.MethodPut, bucket, objects[i].key, data)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("upload: %v", err)
	}
	return objects
}

// small returns n sizes of 100 KB.
func small(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 100_000
	}
	return sizes
}

func total(objects []object) (bytes int64) {
	for _, o := range objects {
		bytes += int64(o.size)
	}
	return bytes
}

// A pass is what one node's readers saw of one pass over some objects.
type pass struct {
	node    *labNode
	mu      sync.Mutex // guards the fields below
	read    int
	wrong   []string
	errs    []error
	longest time.Duration // that a file took
}

// readAll reads the objects in an order of its own, four at a time, and verifies them.
// step is called after each file.
func (n *labNode) readAll(objects []object, seed uint64, step func()) *pass {
	p := &pass{node: n}
	work := make(chan object)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, mib)
			for o := range work {
				begun := time.Now()
				err := n.verify(o, buf)
				p.mu.Lock()
				p.longest = max(p.longest, time.Since(begun))
				switch {
				case errors.Is(err, errWrong):
					p.wrong = append(p.wrong, err.Error())
				case err != nil:
					p.errs = append(p.errs, err)
				default:
					p.read++
				}
				p.mu.Unlock()
				step()
			}
		})
	}
	for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(objects)) {
		work <- objects[i]
	}
	close(work)
	wg.Wait()
	return p
}

var errWrong = errors.New("wrong bytes")

// verify reads one object through the mount.
func (n *labNode) verify(o object, buf []byte) error {
	size, sum, err := n.hash(o.key, buf)
	if err == nil && (size != int64(o.size) || sum != o.sum) {
		err = fmt.Errorf("%s on %s: %d bytes, sum %x, want %d, %x: %w", o.key, n.name, size, sum, o.size, o.sum, errWrong)
	}
	return err
}

// hash reads one object through the mount, once, from one open file.
func (n *labNode) hash(key string, buf []byte) (size int64, sum uint64, err error) {
	f, err := os.Open(n.path(filepath.FromSlash(key)))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := xxh3.New()
	size, err = io.CopyBuffer(hash, struct{ io.Reader }{f}, buf)
	return size, hash.Sum64(), err
}

// mustBe fails the test unless every one of want files was read, with its right bytes.
func (p *pass) mustBe(t testing.TB, want int) {
	t.Helper()
	if len(p.wrong) > 0 {
		t.Errorf("%s: %d files with wrong bytes, first: %s", p.node.name, len(p.wrong), p.wrong[0])
	}
	if len(p.errs) > 0 {
		t.Errorf("%s: %d failed reads, first: %v", p.node.name, len(p.errs), p.errs[0])
	}
	if p.read != want {
		t.Errorf("%s: read %d files, want %d", p.node.name, p.read, want)
	}
}

// readTogether has the nodes read the objects at once, each in its own order.
func readTogether(nodes []*labNode, objects []object, seed uint64) []*pass {
	passes := make([]*pass, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { passes[i] = n.readAll(objects, seed+uint64(i), func() {}) })
	}
	wg.Wait()
	return passes
}

// dropCaches empties the kernel's page cache, so that reads reach the agents.
func dropCaches(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		t.Fatal(err)
	}
}
