package trace

import (
	"errors"
	"fmt"
	"io"
	"math"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	second = int64(1e6) // in microseconds
	day    = 24 * 3600 * second

	// maxTime is later than any time that makes sense, in microseconds, and small enough to
	// reckon with: 146,000 years.
	maxTime = int64(1) << 62
	// maxSize is larger than any size that makes sense.
	maxSize = 1 << 40
	// emptyFirst is how many requests of no bytes a trace may begin with.
	emptyFirst = 1000
)

// foreign is what the decoders of foreign formats have in common: what it takes for a request
// to make sense.
type foreign struct {
	about  About
	number int64 // of the request that comes next
	begun  bool  // whether the trace has a beginning yet
	latest int64 // the latest time so far, in microseconds
}

func newForeign(f Format) foreign {
	return foreign{about: About{Format: f, Share: 1, Nodes: []string{"all"}, Datasets: []string{"all"}}}
}

func (f *foreign) tell() About { return f.about }

// accept makes r a read of a whole block at this time, in microseconds on the trace's clock,
// and counts the request. It reports false for one that is left out.
func (f *foreign) accept(r *Record, time int64, id, size uint64) (bool, error) {
	if !f.begun {
		f.begun, f.about.Start, f.latest = true, time, time
	}
	if time < f.latest-day {
		return false, fmt.Errorf("%w: time goes back by %d s: is it no %s trace?", live.ErrDamaged, (f.latest-time)/second, f.about.Format)
	}
	if size-1 >= math.MaxUint32 { // 0 too
		if size > maxSize {
			return false, fmt.Errorf("%w: a size of %d bytes: is it no %s trace?", live.ErrDamaged, size, f.about.Format)
		}
		if size == 0 {
			return false, f.skip()
		}
		size = math.MaxUint32
		f.about.Clipped++
	}
	f.latest = max(f.latest, time)
	f.number++
	// The first record need not be the earliest.
	*r = Record{Time: max(0, time-f.about.Start), Block: id, Size: uint32(size), Bytes: uint32(size)}
	return true, nil
}

// skip leaves a request out.
func (f *foreign) skip() error {
	f.number++
	f.about.Skipped++
	if f.number == emptyFirst && f.about.Skipped == emptyFirst {
		return fmt.Errorf("%w: the first %d requests are all of no bytes, or deletions: is it no %s trace?", live.ErrDamaged, emptyFirst, f.about.Format)
	}
	return nil
}

// located adds to err where it is: the offset, and the number of the request. At the end of
// the trace it returns io.EOF, unless nothing in it was a record.
func (f *foreign) located(offset int64, err error) error {
	if errors.Is(err, io.EOF) {
		if f.number == 0 || f.about.Skipped < f.number {
			return io.EOF
		}
		err = fmt.Errorf("%w: all its requests are of no bytes, or deletions: is it no %s trace?", live.ErrDamaged, f.about.Format)
	}
	return fmt.Errorf("offset %d, record %d: %w", offset, f.number, err)
}
