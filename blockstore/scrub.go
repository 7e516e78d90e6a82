package blockstore

import (
	"errors"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
)

// ScrubStats is how far the scrub of a disk has come.
type ScrubStats struct {
	Blocks, Bytes int64     // read in this pass
	Total         int       // blocks there are
	Bad           int64     // found since Open
	LastPass      time.Time // when a pass ended; zero when none has
}

// scrubProgress counts for ScrubStats.
type scrubProgress struct {
	mu sync.Mutex // guards the field below
	at ScrubStats
}

// scrub reads every block again and again, at most so many bytes a second, and drops those
// that are bad, so that they are found while another node has them.
func (d *disk) scrub(quit <-chan struct{}, bytesPerSec int64, pause time.Duration) {
	for {
		if !d.scrubPass(quit, bytesPerSec) || !sleep(quit, pause) {
			return
		}
	}
}

// scrubPass reads every block once; false when quit was closed.
func (d *disk) scrubPass(quit <-chan struct{}, bytesPerSec int64) bool {
	d.scrubbed.update(func(s *ScrubStats) { s.Blocks, s.Bytes = 0, 0 })
	buf := *alignedPages(shoal.BlockSize)
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			there, bad := d.scrubBlock(b.key, buf)
			if !there {
				continue
			}
			d.scrubbed.update(func(s *ScrubStats) {
				s.Blocks++
				s.Bytes += int64(b.loc.Length)
				if bad {
					s.Bad++
				}
			})
			if !sleep(quit, time.Duration(float64(b.loc.Length)/float64(bytesPerSec)*float64(time.Second))) {
				return false
			}
		}
		if next == 0 {
			break
		}
	}
	d.scrubbed.update(func(s *ScrubStats) { s.LastPass = time.Now() })
	return true
}

// scrubBlock reads a block if it is there still, and reports whether it was bad.
func (d *disk) scrubBlock(key shoal.Key, buf []byte) (there, bad bool) {
	b, ok := d.holdQuietly(key)
	if !ok {
		return false, false
	}
	defer d.release(b)
	err := d.readAnew(b, buf[:b.loc.Length])
	if err != nil {
		_, err = d.judge(b, err)
	}
	return true, errors.Is(err, ErrCorrupt)
}

// readAnew fills p with the whole block, verified with what the disk says now: nothing of it is
// taken from memory that can be had from the disk, neither an open file nor sums nor, where it
// can be gone past, the page cache.
func (d *disk) readAnew(b block, p []byte) error {
	f, err := openFile(d.files, d.path, b.file())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if b.packed {
		_, err := d.readSlot(f, b, p)
		return err
	}
	cells, err := openFile(d.files, d.path, fileName{sumsFile, b.loc.Container})
	if err != nil {
		return err
	}
	defer func() { _ = cells.Close() }()
	sums, err := b.readRecord(cells)
	if err != nil {
		return err
	}
	whole := len(p) &^ (pageSize - 1)
	if err := readFull(f, [][]byte{p[:whole]}, b.loc.Offset, true); err != nil {
		return err
	}
	if err := readFull(f, [][]byte{p[whole:]}, b.loc.Offset+int64(whole), false); err != nil {
		return err
	}
	return verify(b, sums, 0, p)
}

// holdQuietly is hold of which the policy is not told.
func (d *disk) holdQuietly(key shoal.Key) (block, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return block{}, false
	}
	d.readers[n]++
	return d.block(n), true
}

func (p *scrubProgress) update(change func(*ScrubStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.at)
}

func (p *scrubProgress) get() ScrubStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// sleep waits; false when quit was closed.
func sleep(quit <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-quit:
		return false
	case <-t.C:
		return true
	}
}
