package blockstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// crashChildEnv names the cache directory to a process that is to be killed, or whose file
// system is to be shut down.
const (
	crashChildEnv = "SHOAL_TEST_CRASH_DIR"
	crashRoundEnv = "SHOAL_TEST_CRASH_ROUND" // how many there were before, of this directory
	crashPowerEnv = "SHOAL_TEST_CRASH_POWER" // if set, blocks may be missing, since the power was
)

const (
	crashLimit   = 16 << 20
	crashSlab    = 512 << 10
	crashWriters = 4
	crashWindow  = 900 // numbers that a round puts
	crashDrift   = 300 // from one round to the next
)

// A crashTeller says what happens to blocks. What it says is heard before what follows is
// done.
type crashTeller struct {
	say  func(word string, i uint32)
	disk atomic.Pointer[disk] // nil until the load begins
}

// policy returns a policy that tells of the blocks that come, go and move.
func (t *crashTeller) policy() policy.Policy { return &tellingPolicy{weighted(), t} }

// evicted is an OnEvict.
func (t *crashTeller) evicted(went []Gone) {
	for _, key := range keysOf(went) {
		t.say("evicted", crashNumber(key))
	}
}

// tellingPolicy is a policy that says what it is told. It is called under the disk's lock:
// Insert when the index has the block, Remove before the index is told to forget it.
type tellingPolicy struct {
	policy.Policy
	teller *crashTeller
}

func (p *tellingPolicy) say(word string, slot uint32) {
	if d := p.teller.disk.Load(); d != nil {
		p.teller.say(word, crashNumber(d.places.at(slot).key))
	}
}

// Insert says that the block is there.
func (p *tellingPolicy) Insert(slot uint32, item policy.Item) {
	p.Policy.Insert(slot, item)
	p.say("shown", slot)
}

// Remove says that the block may be given up from now on.
func (p *tellingPolicy) Remove(slot uint32) {
	p.say("leaving", slot)
	p.Policy.Remove(slot)
}

// Move says that the block was moved.
func (p *tellingPolicy) Move(from, to uint32) {
	p.say("moved", to)
	p.Policy.Move(from, to)
}

// Victim gives nothing up before the load begins.
func (p *tellingPolicy) Victim() (slot uint32, ok bool) {
	if p.teller.disk.Load() == nil {
		return 0, false
	}
	return p.Policy.Victim()
}

// faultTeller says when the file system has failed: from then on nothing reaches it.
type faultTeller struct {
	osFiles
	teller *crashTeller
}

func (f faultTeller) note(err error) error {
	if errors.Is(err, unix.EIO) {
		f.teller.say("fault", 0)
	}
	return err
}

// Create makes a file.
func (f faultTeller) Create(name string, size int64, sparse bool) error {
	return f.note(f.osFiles.Create(name, size, sparse))
}

// Open opens a file.
func (f faultTeller) Open(name string) (file, error) {
	opened, err := f.osFiles.Open(name)
	if f.note(err) != nil {
		return nil, err
	}
	return faultTellingFile{opened, f}, nil
}

// Remove removes a file.
func (f faultTeller) Remove(name string) error { return f.note(f.osFiles.Remove(name)) }

// Reuse renames and resizes a file.
func (f faultTeller) Reuse(from, to string, keep, size int64) error {
	return f.note(f.osFiles.Reuse(from, to, keep, size))
}

// Sync syncs all files.
func (f faultTeller) Sync(dir string) error { return f.note(f.osFiles.Sync(dir)) }

type faultTellingFile struct {
	file
	files faultTeller
}

// ReadAt reads.
func (f faultTellingFile) ReadAt(parts [][]byte, off int64, direct bool) error {
	return f.files.note(f.file.ReadAt(parts, off, direct))
}

// WriteAt writes.
func (f faultTellingFile) WriteAt(parts [][]byte, off int64) error {
	return f.files.note(f.file.WriteAt(parts, off))
}

// Punch punches.
func (f faultTellingFile) Punch(off, n int64) error { return f.files.note(f.file.Punch(off, n)) }

// crashChild opens the store, checks and tells what is in it, then puts, reads, pins, removes
// and syncs until the process is killed.
func crashChild(dir string) {
	var round uint32
	_, _ = fmt.Sscan(os.Getenv(crashRoundEnv), &round)
	power := os.Getenv(crashPowerEnv) != ""
	var out sync.Mutex // so that two lines are never one
	t := &crashTeller{say: func(word string, i uint32) {
		out.Lock()
		defer out.Unlock()
		_, _ = fmt.Printf("%s %d\n", word, i) // one write
	}}
	t.say("opening", 0)
	cfg := crashConfig(dir, t)
	s, err := Open(cfg)
	if err != nil {
		panic(err)
	}
	t.say("open", 0)
	check := crashCheck{store: s, say: t.say, large: true, power: power}
	if err := check.run(); err != nil {
		panic(err)
	}
	t.disk.Store(s.disks[0])
	t.say("checked", 0)
	var writers sync.WaitGroup
	for w := range uint32(crashWriters) {
		writers.Go(func() {
			l := crashWriter{store: s, teller: t, pins: s.NewPins("load"), number: w, base: round * crashDrift}
			l.rnd = rand.New(rand.NewPCG(uint64(round), uint64(w)))
			var err error
			for err == nil {
				err = l.step()
			}
			if !power {
				panic(err)
			}
		})
	}
	writers.Wait() // a kill comes before, but when the file system is shut down
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func crashConfig(dir string, t *crashTeller) Config {
	cfg := oneDisk(dir, crashLimit)
	cfg.SlabBytes = crashSlab
	cfg.High, cfg.Low = 0.9, 0.85
	cfg.policy, cfg.OnEvict = t.policy, t.evicted
	cfg.files = faultTeller{teller: t}
	cfg.FlushInterval, cfg.RetryInterval = 50*time.Millisecond, time.Hour
	return cfg
}

// A crashWriter is one goroutine of the load. It puts, removes and pins only blocks that no
// other does, so that what it says of them is in order.
type crashWriter struct {
	store  *Store
	teller *crashTeller
	pins   *Pins
	number uint32
	base   uint32 // of the numbers of its round
	rnd    *rand.Rand
	pinned []shoal.Key
}

// step does one thing; its error ends the load.
func (l *crashWriter) step() error {
	i := l.base + l.rnd.Uint32N(crashWindow)
	b := crashBlockOf(i, true)
	own := i%crashWriters == l.number
	switch op := l.rnd.IntN(1000); {
	case op < 10:
		return l.sync()
	case op < 300 || !own:
		_, err := l.store.ReadAt(b.key, make([]byte, b.length), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	case op < 350:
		return l.pin(b)
	case op < 420:
		if err := l.store.Remove(b.key); err != nil {
			return nil // it was not there
		}
		l.teller.say("removed", i)
		return nil
	}
	l.teller.say("begin", i)
	data := b.data()
	if err := l.store.Put(b.key, b.file, data, shoal.ChunkSums(b.key, data)); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	l.teller.say("end", i)
	return nil
}

// sync tells of a Sync, if it is this goroutine's to do them.
func (l *crashWriter) sync() error {
	if l.number > 0 {
		return nil
	}
	l.teller.say("sync", 0)
	if err := l.store.Sync(); err != nil {
		return err
	}
	l.teller.say("synced", 0)
	return nil
}

// pin pins a block, and lets one go when there are many. A pinned block is not told to the
// policy, so it is told here that it stays.
func (l *crashWriter) pin(b crashBlock) error {
	if l.pins.Add(b.key) > 0 {
		l.teller.say("shown", b.number)
	}
	l.pinned = append(l.pinned, b.key)
	if len(l.pinned) > 5 {
		l.pins.Remove(l.pinned[0])
		l.pinned = l.pinned[1:]
	}
	return nil
}
