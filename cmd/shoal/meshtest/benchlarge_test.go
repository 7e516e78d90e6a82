package meshtest

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/fuse"
	"github.com/shoal-mesh/shoal/node"
)

// A way to read a large file.
type way struct {
	name string
	read func(name string, size int) error
	off  bool // passthrough is
}

// large reads the big file, whose blocks are all local, through the mount, and a copy of it.
func (m *meshBench) large(b *testing.B, w way) {
	m.fill(b, m.big)
	m.copyPlain(b, m.big)
	mount, ok := m.node.config["mount"].(map[string]any)
	if !ok {
		b.Fatal("the lab's config mounts nothing")
	}
	if w.off {
		m.node.stop(b)
		mount["passthrough"] = "off"
		m.node.start(b, 1)
		defer delete(mount, "passthrough")
	}
	before, passing := m.node.status(b), false
	if !w.off {
		before, passing = m.passedThrough(b)
	}
	r := row{
		name: fmt.Sprintf("%d MiB, %s", m.big.size/mib, w.name), plain: "plain file", unit: "MB/s", ratio: "x_plain",
		work: float64(m.big.size) / 1e6, bytes: float64(m.big.size),
	}
	side := func(name string) func() sample { return func() sample { return m.readLarge(b, w, name) } }
	r.measure(b, [2]func() sample{side(filepath.Join(m.plain, m.big.key)), side(m.node.path(m.big.key))})
	m.mustBeLocal(b, before.Fetches.UFSBytes)
	after := m.node.status(b).Kernel
	if served := after.Reads - before.Kernel.Reads; passing && served > 0 {
		b.Errorf("the agent served %d reads of a file that is passed through, want 0", served)
	}
	m.rows = append(m.rows, r)
}

// passedThrough waits until the kernel reads the big file by itself, where it does. It
// returns the agent's status then, and whether it does.
func (m *meshBench) passedThrough(b *testing.B) (s node.Status, passing bool) {
	b.Helper()
	s = m.node.status(b)
	if s.Kernel.Passthrough != fuse.PassthroughOn {
		return s, false
	}
	// The last block is put after it has been read, and a close comes to the agent late.
	m.lab.until(b, "the file is passed through", func() bool {
		opens := m.node.status(b).Kernel.PassthroughOpens
		if err := readRange(m.node.path(m.big.key), 0, 1); err != nil {
			b.Fatal(err)
		}
		s = m.node.status(b)
		return s.Kernel.PassthroughOpens > opens
	})
	return s, true
}

// readLarge reads the big file by name, page-cold.
func (m *meshBench) readLarge(b *testing.B, w way, name string) sample {
	b.Helper()
	m.prepare(b)
	cpu, begun := m.cpu(b), time.Now()
	if err := w.read(name, m.big.size); err != nil {
		b.Fatal(err)
	}
	return sample{time.Since(begun), m.cpu(b) - cpu}
}

// cpu returns the CPU time of the reader, which is this process, and of the agent.
func (m *meshBench) cpu(b *testing.B) time.Duration {
	b.Helper()
	return ownCPU() + m.node.agentCPU(b)
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var self unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &self) // fails for no argument of ours
	return time.Duration(self.Utime.Nano() + self.Stime.Nano())
}

// readSequential reads a file from its beginning to its end, 1 MiB at a time.
func readSequential(name string, size int) error { return readRange(name, 0, size) }

// readByFour has four readers read a quarter each.
func readByFour(name string, size int) error {
	var g errgroup.Group
	for i := range 4 {
		g.Go(func() error { return readRange(name, i*size/4, (i+1)*size/4) })
	}
	return g.Wait()
}

// readRange reads a part of a file with the system calls alone, 1 MiB at a time.
func readRange(name string, from, to int) (err error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	buf := make([]byte, mib)
	for from < to {
		n, err := unix.Pread(fd, buf[:min(len(buf), to-from)], int64(from))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read %s at %d: %w", name, from, err)
		case n == 0:
			return fmt.Errorf("read %s at %d: %w", name, from, io.ErrUnexpectedEOF)
		}
		from += n
	}
	return nil
}

// scanMapped maps a file and looks at a byte of each page.
func scanMapped(name string, size int) (err error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	mapped, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	sum := 0
	for at := 0; at < size; at += 4 * kib {
		sum += int(mapped[at])
	}
	if err := unix.Munmap(mapped); err != nil || sum == 0 {
		return fmt.Errorf("scan %s: %d, %w", name, sum, err)
	}
	return nil
}
