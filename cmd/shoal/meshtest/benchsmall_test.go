package meshtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallRows measures small files and names, on the mount for all files and on the one for small ones.
func (m *meshBench) smallRows(b *testing.B) {
	for _, at := range []mountOf{
		{"small", m.node.path},
		{"small/elided", m.node.smallPath},
	} {
		for _, threads := range []int{1, 8} {
			for _, cold := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/%s/threads=%d", at.name, pages(cold), threads), func(b *testing.B) { m.smallFiles(b, at, threads, cold) })
			}
		}
		b.Run(at.name+"/walk", func(b *testing.B) { m.walk(b, at) })
		b.Run(at.name+"/list", func(b *testing.B) { m.list(b, at) })
	}
}

// A mountOf is one mount of the node.
type mountOf struct {
	name string
	path func(elem ...string) string
}

func pages(cold bool) string {
	if cold {
		return "page-cold"
	}
	return "page-warm"
}

// smallFiles opens, reads and closes all small files in random order, through a mount,
// whose blocks are all local, and in a plain directory.
func (m *meshBench) smallFiles(b *testing.B, at mountOf, threads int, pageCold bool) {
	m.fill(b, m.small...)
	m.copyPlain(b, m.small...)
	before := m.node.status(b).Fetches
	seed := uint64(0)
	r := row{
		name: fmt.Sprintf("%s: %d x 100 KB, %s, threads=%d", at.name, len(m.small), pages(pageCold), threads), plain: "plain directory",
		unit: "files/s", ratio: "x_plain", work: float64(len(m.small)), bytes: float64(total(m.small)),
	}
	pass := func(dir string) func() sample {
		return func() sample {
			seed++
			switch {
			case pageCold:
				m.prepare(b)
			case seed <= 2: // the first pass of each side
				m.readSmall(b, dir, seed, threads)
			}
			return m.readSmall(b, dir, 100+seed, threads)
		}
	}
	r.measure(b, [2]func() sample{pass(m.plain), m.counted(b, &r, pass(at.path()))})
	m.mustBeLocal(b, before.UFSBytes)
	m.rows = append(m.rows, r)
}

// walk looks at the attributes of all small files, warm: none is newer than the file find is given.
func (m *meshBench) walk(b *testing.B, at mountOf) {
	m.fill(b, m.small...)
	m.copyPlain(b, m.small...)
	newest := filepath.Join(m.node.home, "newest")
	if err := os.WriteFile(newest, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	r := row{
		name: fmt.Sprintf("%s: find -newer among %d", at.name, len(m.small)), plain: "plain directory",
		unit: "files/s", ratio: "x_plain", work: float64(len(m.small)),
	}
	m.names(b, &r, at.path("small"), filepath.Join(m.plain, "small"), "find", "-newer", newest)
}

// list lists a directory of 100,000 files with their attributes, warm.
func (m *meshBench) list(b *testing.B, at mountOf) {
	const entries = 100_000
	plain := filepath.Join(m.plain, "many")
	if err := os.Mkdir(plain, 0o700); err == nil {
		m.lab.upload(b, 3, func(i int) string { return fmt.Sprintf("many/%06d", i) }, make([]int, entries)...)
		for i := range entries {
			if err := os.WriteFile(filepath.Join(plain, fmt.Sprintf("%06d", i)), nil, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	m.fill(b, m.small[0])
	r := row{
		name: fmt.Sprintf("%s: ls -l of %d", at.name, entries), plain: "plain directory",
		unit: "entries/s", ratio: "x_plain", work: entries,
	}
	m.names(b, &r, at.path("many"), plain, "ls", "-l")
	b.ReportMetric(entries/median(r.rates[1])*1e3, "ms")
}

// names measures a program that looks at names in a directory of the mount, and in a plain one. It has
// seen each before.
func (m *meshBench) names(b *testing.B, r *row, dir, plain, program string, args ...string) {
	b.Helper()
	run := func(dir string) func() sample {
		args := append([]string{dir}, args...)
		return func() sample { return m.command(b, program, args...) }
	}
	run(dir)()
	run(plain)()
	r.measure(b, [2]func() sample{run(plain), m.counted(b, r, run(dir))})
	m.rows = append(m.rows, *r)
}

// counted has a side of a row count what the kernel asks of the agent for each unit of its work.
func (m *meshBench) counted(b *testing.B, r *row, side func() sample) func() sample {
	return func() sample {
		before := m.asked(b)
		s := side()
		r.requests = append(r.requests, float64(m.asked(b)-before)/r.work)
		return s
	}
}

// asked returns how many requests the kernel has sent to both mounts.
func (m *meshBench) asked(b *testing.B) (sum uint64) {
	b.Helper()
	s := m.node.status(b)
	for _, byKind := range []map[string]uint64{s.Kernel.Requests, s.SmallFiles.Requests} {
		for _, n := range byKind {
			sum += n
		}
	}
	return sum
}

// command runs a program to its end.
func (m *meshBench) command(b *testing.B, name string, args ...string) sample {
	b.Helper()
	agent := m.node.agentCPU(b)
	cmd := exec.Command(name, args...)
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd.Args, err)
	}
	took := time.Since(begun)
	return sample{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + m.node.agentCPU(b) - agent}
}

// readSmall opens, reads to the end and closes every small file below dir.
func (m *meshBench) readSmall(b *testing.B, dir string, seed uint64, threads int) sample {
	b.Helper()
	names := make([]string, len(m.small))
	for to, from := range rand.New(rand.NewPCG(seed, 2)).Perm(len(names)) {
		names[to] = filepath.Join(dir, m.small[from].key)
	}
	bytes, errs := make([]int64, threads), make([]error, threads)
	before, begun := m.cpu(b), time.Now()
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			bytes[i], errs[i] = readEach(names[i*len(names)/threads : (i+1)*len(names)/threads])
		})
	}
	wg.Wait()
	s := sample{took: time.Since(begun)}
	s.cpu = m.cpu(b) - before
	sum := int64(0)
	for i := range threads {
		if errs[i] != nil {
			b.Fatal(errs[i])
		}
		sum += bytes[i]
	}
	if sum != total(m.small) {
		b.Fatalf("read %d bytes below %s, want %d", sum, dir, total(m.small))
	}
	return s
}

// readEach reads files with the system calls alone: what Go's own files do around them
// would be a part of both sides.
func readEach(names []string) (bytes int64, err error) {
	buf := make([]byte, 128*kib)
	for _, name := range names {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return bytes, fmt.Errorf("open %s: %w", name, err)
		}
		for n := 1; n > 0 && err == nil; bytes += int64(max(n, 0)) {
			for n, err = unix.Read(fd, buf); err == unix.EINTR; {
				n, err = unix.Read(fd, buf)
			}
		}
		if err != nil {
			_ = unix.Close(fd)
			return bytes, fmt.Errorf("read %s: %w", name, err)
		}
		if err := unix.Close(fd); err != nil {
			return bytes, fmt.Errorf("close %s: %w", name, err)
		}
	}
	return bytes, nil
}
