package replicas

import (
	"encoding/binary"
	"math"

	"github.com/shoal-mesh/shoal"
)

// Changes, orders and resignations come as lines. A line begins with a byte of flags, of
// which the first two say what need not be told of its key: the file, if it is that of the
// line before, and the index, if it is the next one in that file or the first in another. So
// the blocks of a large file cost 1 byte each, a small file 17 (policy.md §2.2 reckons with
// 12 for a delta, all told).
//
// What a holder has told, by a number, it can be told by that number. What it tells of blocks
// that its home knows it to hold is told by the hash of the key alone; if two of them have the
// same, the home forgets both when one is dropped, until the holder's digests say otherwise,
// and lets it resign from neither. Orders that name no number have whole keys, as a holder must
// never take a block for another.
const (
	lineSameFile  = 1 << 0
	lineNextIndex = 1 << 1

	changeHeld   = 1 << 2
	changeLimits = 1 << 3 // Limits follow, else they are those of the line before
	changeIdle   = 1 << 4
	changeSum    = 1 << 5
	changeGained = 1 << 6
	changeFilled = 1 << 7

	orderKeeper     = 1 << 2
	orderClassShift = 3 // 2 bits
	orderCredit     = 1 << 5
	orderNumbered   = 1 << 6 // no key, but the number of a gain
	orderResigned   = 1 << 7 // and not that of a gain, but of a resignation
)

// lineWriter appends lines to b.
type lineWriter struct {
	b    []byte
	last shoal.Key
	any  bool // last is set
}

// line appends flags and key.
func (w *lineWriter) line(flags byte, key shoal.Key) {
	sameFile := w.any && key.File == w.last.File
	if sameFile {
		flags |= lineSameFile
	}
	nextIndex := sameFile && key.Index == w.last.Index+1 || !sameFile && key.Index == 0
	if nextIndex {
		flags |= lineNextIndex
	}
	w.b = append(w.b, flags)
	if !sameFile {
		w.b = append(w.b, key.File[:]...)
	}
	if !nextIndex {
		w.b = binary.AppendUvarint(w.b, uint64(key.Index))
	}
	w.last, w.any = key, true
}

func appendChanges(b []byte, changes []Change) []byte {
	w := lineWriter{b: binary.AppendUvarint(b, uint64(len(changes)))}
	var limits Limits
	var gained uint64
	for _, c := range changes {
		if !c.Held {
			w.drop(c)
			continue
		}
		flags := byte(changeHeld)
		if c.Gained != 0 {
			flags |= changeGained
		}
		if c.Filled {
			flags |= changeFilled
		}
		if c.Limits != limits {
			flags |= changeLimits
		}
		if c.Sum != 0 {
			flags |= changeSum
		}
		w.line(flags, c.Key)
		if c.Gained != 0 {
			w.b = binary.AppendUvarint(w.b, c.Gained-gained) // they ascend
			gained = c.Gained
		}
		if c.Limits != limits {
			limits = c.Limits
			w.b = append(w.b, limits.Min, limits.Max)
		}
		if c.Sum != 0 {
			w.b = binary.BigEndian.AppendUint32(w.b, uint32(c.Sum))
		}
	}
	return w.b
}

func (w *lineWriter) drop(c Change) {
	var flags byte
	if c.Idle != 0 {
		flags |= changeIdle
	}
	w.b = binary.BigEndian.AppendUint64(append(w.b, flags), c.Hash)
	if c.Idle != 0 {
		w.b = append(w.b, byte(c.Idle))
	}
}

func appendResigned(b []byte, resigned []Resignation) []byte {
	b = binary.AppendUvarint(b, uint64(len(resigned)))
	var number uint64
	for _, r := range resigned {
		b = binary.BigEndian.AppendUint64(b, r.Hash)
		b = binary.AppendUvarint(b, r.Number-number) // they ascend
		number = r.Number
	}
	return b
}

func appendOrders(b []byte, orders []Order) []byte {
	w := lineWriter{b: binary.AppendUvarint(b, uint64(len(orders)))}
	var basis uint64
	var numbers [2]uint64 // the last of gains and the last of resignations
	for _, o := range orders {
		flags := byte(o.Standing.Class&3) << orderClassShift
		if o.Standing.Keeper {
			flags |= orderKeeper
		}
		if o.Credit != 0 {
			flags |= orderCredit
		}
		if o.Number == 0 {
			w.line(flags, o.Key)
		} else {
			last := &numbers[o.Number&1]
			w.b = append(w.b, flags|orderNumbered|byte(o.Number&1)*orderResigned)
			w.b = binary.AppendVarint(w.b, int64(o.Number>>1-*last))
			*last = o.Number >> 1
		}
		if o.Credit != 0 {
			w.b = append(w.b, byte(o.Credit))
		}
		w.b = binary.AppendVarint(w.b, int64(o.Basis-basis)) // they are close to one another
		basis = o.Basis
	}
	return w.b
}

// appendResults writes how many there are, and those that are not Obeyed: few.
func appendResults(b []byte, results []Result) []byte {
	b = binary.AppendUvarint(b, uint64(len(results)))
	last := 0
	for i, r := range results {
		if r != Obeyed {
			b = append(binary.AppendUvarint(b, uint64(1+i-last)), byte(r))
			last = i + 1
		}
	}
	return binary.AppendUvarint(b, 0)
}

// lineReader takes lines off a reader.
type lineReader struct {
	*reader
	last shoal.Key
}

// key returns the key of the line that begins with flags.
func (r *lineReader) key(flags byte) shoal.Key {
	key := r.last
	key.Index++
	if flags&lineSameFile == 0 {
		key = shoal.Key{}
		copy(key.File[:], r.take(len(key.File)))
	}
	if flags&lineNextIndex == 0 {
		key.Index = uint32(r.uvarint(1<<32 - 1))
	}
	r.last = key
	return key
}

func (r *reader) changes() []Change {
	n := r.list(maxChanges, 1)
	if n == 0 {
		return nil
	}
	lines := lineReader{reader: r}
	changes := make([]Change, n)
	var limits Limits
	var gained uint64
	for i := range changes {
		c := &changes[i]
		flags := r.byte()
		if c.Held = flags&changeHeld != 0; !c.Held {
			c.Hash = r.uint64()
			if flags&changeIdle != 0 {
				c.Idle = Idle(r.byte())
			}
			continue
		}
		c.Key, c.Filled = lines.key(flags), flags&changeFilled != 0
		if flags&changeGained != 0 {
			gained += r.uvarint(math.MaxUint64)
			c.Gained = gained
		}
		if flags&changeLimits != 0 {
			limits = Limits{Min: r.byte(), Max: r.byte()}
		}
		if c.Limits = limits; flags&changeSum != 0 {
			c.Sum = shoal.Sum(r.uint32())
		}
	}
	return changes
}

func (r *reader) resigned() []Resignation {
	n := r.list(maxKeys, 9)
	if n == 0 {
		return nil
	}
	resigned := make([]Resignation, n)
	var number uint64
	for i := range resigned {
		hash := r.uint64()
		number += r.uvarint(math.MaxUint64)
		resigned[i] = Resignation{hash, number}
	}
	return resigned
}

func (r *reader) orders() []Order {
	n := r.list(maxChanges, 1)
	if n == 0 {
		return nil
	}
	lines := lineReader{reader: r}
	orders := make([]Order, n)
	var basis uint64
	var numbers [2]uint64
	for i := range orders {
		o := &orders[i]
		flags := r.byte()
		o.Standing = shoal.Standing{
			Class: shoal.Class(flags >> orderClassShift & 3), Keeper: flags&orderKeeper != 0,
		}
		if flags&orderNumbered == 0 {
			o.Key = lines.key(flags)
		} else {
			kind := flags >> 7
			numbers[kind] += uint64(r.varint())
			o.Number = numbers[kind]<<1 | uint64(kind)
			r.bad = r.bad || o.Number == 0
		}
		if flags&orderCredit != 0 {
			o.Credit = Idle(r.byte())
		}
		basis += uint64(r.varint())
		o.Basis = basis
	}
	return orders
}

func (r *reader) results() []Result {
	n := int(r.uvarint(maxChanges))
	results := make([]Result, n)
	at := 0
	for !r.bad {
		skip := int(r.uvarint(maxChanges))
		if skip == 0 {
			break
		}
		if at += skip; at > n {
			r.bad = true
			break
		}
		results[at-1] = Result(r.byte())
		r.bad = r.bad || results[at-1] >= outcomes || results[at-1] == Obeyed
	}
	if n == 0 {
		return nil
	}
	return results
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if r.bad || n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}
