package policy

// A detector tells from the reads of a dataset whether they are epochs: passes in which every
// block is read once, in any order. It samples blocks by hash, so that it stays small and
// sees every read of a block that is in the sample (policy.md §6).
//
// A pass ends at the first repeats. Two passes in a row make epochs when they are about as
// long and the later one read again most of what was known before it, and little else. Where
// a node sees a part of each epoch only (DistributedSampler), a tenth of what was known is
// enough, but twice, and never less in between. Independent reads do not get there: after n of d equally likely
// blocks n/2d of the reads have been repeats, which ends the pass at d/25, and popular blocks
// end it sooner.
type detector struct {
	epochs bool // what was found

	burst  Tick
	shift  uint8    // one block in 2^shift is sampled
	table  []sample // open addressing, a power of two
	filled int

	pass pass
	last pass // what came before
	good int  // passes that were like a part of an epoch
	lost int  // reads since, in passes that were not, while epochs
}

// A sample is one block of the sample. It takes 16 bytes.
type sample struct {
	key  uint64 // its hash; 0 in an empty place
	at   Tick   // the last read
	pass uint32 // the last pass it was read in
}

// A pass counts reads of blocks in the sample.
type pass struct {
	number  uint32
	began   Tick
	before  int // blocks known when it began
	length  int // blocks read
	known   int // of these, how many were known before
	next    int // of these, how many were read again: the next pass has begun with them
	repeats int // reads again
}

const (
	minSamples = 64
	maxSamples = 2048 // at 16 bytes: 32 KiB
	longPass   = 64   // blocks of the sample that make a pass long
	allPass    = 16   // the same for a pass of all blocks there are, but for a few
)

// read counts a read of a block, and reports whether epochs changed.
func (d *detector) read(hash uint64, now Tick) (changed bool) {
	hash = max(1, scramble(hash))
	if hash&(1<<d.shift-1) != 0 {
		return false
	}
	if d.table == nil {
		d.table = make([]sample, minSamples)
		d.pass = pass{number: 1, began: now}
	}
	was := d.epochs
	s := d.find(hash)
	p := &d.pass
	switch {
	case s.key == 0:
		*s = sample{hash, now, p.number}
		p.length++
		if d.filled++; d.filled > len(d.table)*3/4 {
			d.crowd()
		}
	case now-s.at < d.burst:
		s.at = now
		return false
	case s.pass < p.number:
		s.pass, s.at = p.number, now
		p.length++
		p.known++
	default:
		if s.pass == p.number {
			s.pass++
			p.next++
		}
		s.at = now
		p.repeats++
	}
	if p.repeats >= 2 && p.repeats*50 > p.length {
		d.end(now)
	} else if d.epochs && p.length > 4*d.last.length {
		d.forget() // it goes on and on: these are other blocks
	}
	return d.epochs != was
}

// blocks returns how many blocks an epoch has, and while none were found, how many were seen.
func (d *detector) blocks() float64 {
	n := d.filled
	if d.epochs {
		n = max(d.last.length, d.pass.length)
	}
	return float64(n) * float64(uint64(1)<<d.shift)
}

// known returns how many blocks were seen, in any pass.
func (d *detector) known() float64 { return float64(d.filled) * float64(uint64(1)<<d.shift) }

// end judges the pass and begins the next one.
func (d *detector) end(now Tick) {
	p := d.pass
	lasted := now-p.began >= d.burst
	long := lasted && (p.length >= longPass || p.length >= allPass && 20*p.length >= 19*d.filled)
	alike := 4*d.last.length >= 3*p.length && 4*p.length >= 3*d.last.length
	switch {
	case d.epochs && lasted && 4*p.length >= d.last.length:
		d.lost = 0
	case d.epochs:
		if d.lost += p.length; 2*d.lost >= d.last.length {
			d.forget()
		}
		p.length = max(p.length, d.last.length)
	case !long || 10*p.known < p.before:
		d.good = 0
	case !alike:
	case 2*p.known >= p.before && 4*p.known >= 3*p.length:
		d.epochs = true
	default:
		d.good++
		d.epochs = d.good >= 2
	}
	d.last = p
	d.pass = pass{number: p.number + 1, began: now, before: d.filled, length: p.next, known: p.next}
}

// forget takes back what was found.
func (d *detector) forget() { d.epochs, d.good, d.lost = false, 0, 0 }

// crowd makes room in the table: it grows, or the sample is halved.
func (d *detector) crowd() {
	old := d.table
	d.table = make([]sample, min(2*len(old), maxSamples))
	if len(old) == maxSamples {
		d.shift++
		d.pass.halve()
		d.last.halve()
		d.lost /= 2
	}
	d.filled = 0
	for _, s := range old {
		if s.key != 0 && s.key&(1<<d.shift-1) == 0 {
			*d.find(s.key) = s
			d.filled++
		}
	}
}

func (p *pass) halve() {
	p.before /= 2
	p.length /= 2
	p.known /= 2
	p.next /= 2
	p.repeats /= 2
}

// find returns the place of a key in the table, or the empty one where it belongs.
func (d *detector) find(key uint64) *sample {
	for i := key >> 40; ; i++ {
		if s := &d.table[i&uint64(len(d.table)-1)]; s.key == key || s.key == 0 {
			return s
		}
	}
}

// scramble spreads a hash over all bits (the finalizer of splitmix64), in case some are alike.
func scramble(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
