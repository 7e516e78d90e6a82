package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

// A dataset is a tree of generated files: small ones like images in folders of a
// thousand, and a few big ones. The same seed makes the same bytes.
type dataset struct {
	dir   string
	files []file
}

type file struct {
	name string // relative, with slashes
	size int64
	seed uint64
	sum  uint64 // xxh3 of the contents, known once they have been generated
}

const seed = 20_261_121

func newDataset(dir string, cfg Config) *dataset {
	d := &dataset{dir: dir}
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range cfg.Files {
		d.files = append(d.files, file{
			name: fmt.Sprintf("train/class-%03d/image-%06d.jpg", i/1000, i),
			size: 20_000 + rng.Int64N(180_001), seed: rng.Uint64(),
		})
	}
	for i := range cfg.BigFiles {
		d.files = append(d.files, file{name: fmt.Sprintf("models/shard-%02d.bin", i), size: cfg.BigSize, seed: rng.Uint64()})
	}
	return d
}

func (d *dataset) bytes() int64 {
	var n int64
	for _, f := range d.files {
		n += f.size
	}
	return n
}

// generate writes the files and notes their sums.
func (d *dataset) generate(ctx context.Context, p Progress) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range d.files {
		f := &d.files[i]
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			hash := xxh3.New()
			source := io.TeeReader(io.LimitReader(rand.NewChaCha8(chacha(f.seed)), f.size), hash)
			if err := write(filepath.Join(d.dir, filepath.FromSlash(f.name)), source, p); err != nil {
				return err
			}
			f.sum = hash.Sum64()
			return nil
		})
	}
	return g.Wait()
}

func chacha(seed uint64) (s [32]byte) {
	for i := range s {
		s[i] = byte(seed >> (8 * (i % 8)))
	}
	return s
}

// copyTo copies the files one after another, as cp -r does, and returns files per second.
func (d *dataset) copyTo(ctx context.Context, dir string, p Progress) (float64, error) {
	begun := time.Now()
	for _, f := range d.files {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		in, err := os.Open(filepath.Join(d.dir, filepath.FromSlash(f.name)))
		if err != nil {
			return 0, err
		}
		err = write(filepath.Join(dir, filepath.FromSlash(f.name)), in, p)
		_ = in.Close() // only read from
		if err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	return rate(int64(len(d.files)), took), os.RemoveAll(dir)
}

func write(name string, from io.Reader, p Progress) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, from)
	p.Add(n)
	if err != nil {
		_ = out.Close() // the copy's error counts
		return err
	}
	return out.Close()
}

// order returns the files' numbers in an order of its own for each reader and epoch.
func (d *dataset) order(node, epoch int) []int {
	return rand.New(rand.NewPCG(seed+uint64(node), uint64(epoch))).Perm(len(d.files))
}

// verify reads all of from and reports how many of the file's bytes are wrong: all of
// them when length or sum differ.
func (f *file) verify(from io.Reader, buf []byte) (wrong int64, err error) {
	hash := xxh3.New()
	n, err := io.CopyBuffer(hash, struct{ io.Reader }{from}, buf)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path.Base(f.name), err)
	}
	if n != f.size || hash.Sum64() != f.sum {
		return max(n, f.size), nil
	}
	return 0, nil
}
