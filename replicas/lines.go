package replicas

import (
	"encoding/binary"

	"github.com/shoal-mesh/shoal"
)

// Changes, orders and resignations come as lines, each with a key. A line begins with a
// byte of flags, of which the first two say how much of the key is that of the line before:
// the file, and the index but for being the next one. So the blocks of a large file cost
// 1 byte each, a block of another file 17 or more (policy.md §2.2 reckons with 12 for a
// delta, all told). A key is never shortened: two blocks that were taken for one would make
// a home believe that the last replica of one of them has gone, or is not the last.
const (
	lineSameFile  = 1 << 0
	lineNextIndex = 1 << 1

	changeHeld   = 1 << 2
	changeLimits = 1 << 3 // Limits follow, else they are those of the line before
	changeIdle   = 1 << 4
	changeSum    = 1 << 5
	changeFresh  = 1 << 6

	orderKeeper     = 1 << 2
	orderClassShift = 3 // 2 bits
	orderCredit     = 1 << 5
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
	nextIndex := w.any && key.Index == w.last.Index+1
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
	for _, c := range changes {
		var flags byte
		if c.Held {
			flags |= changeHeld
		}
		if c.Fresh {
			flags |= changeFresh
		}
		if c.Limits != limits {
			flags |= changeLimits
		}
		if c.Idle != 0 {
			flags |= changeIdle
		}
		if c.Sum != 0 {
			flags |= changeSum
		}
		w.line(flags, c.Key)
		if c.Limits != limits {
			limits = c.Limits
			w.b = append(w.b, limits.Min, limits.Max)
		}
		if c.Idle != 0 {
			w.b = append(w.b, byte(c.Idle))
		}
		if c.Sum != 0 {
			w.b = binary.BigEndian.AppendUint32(w.b, uint32(c.Sum))
		}
	}
	return w.b
}

func appendLines(b []byte, keys []shoal.Key) []byte {
	w := lineWriter{b: binary.AppendUvarint(b, uint64(len(keys)))}
	for _, key := range keys {
		w.line(0, key)
	}
	return w.b
}

func appendOrders(b []byte, orders []Order) []byte {
	w := lineWriter{b: binary.AppendUvarint(b, uint64(len(orders)))}
	var basis uint64
	for _, o := range orders {
		flags := byte(o.Standing.Class&3) << orderClassShift
		if o.Standing.Keeper {
			flags |= orderKeeper
		}
		if o.Credit != 0 {
			flags |= orderCredit
		}
		w.line(flags, o.Key)
		if o.Credit != 0 {
			w.b = append(w.b, byte(o.Credit))
		}
		if !o.Standing.Keeper {
			w.b = binary.AppendVarint(w.b, int64(o.Basis-basis)) // they are close to one another
			basis = o.Basis
		}
	}
	return w.b
}

func appendResults(b []byte, results []Result) []byte {
	b = binary.AppendUvarint(b, uint64(len(results)))
	for _, r := range results {
		b = append(b, byte(r))
	}
	return b
}

// lineReader takes lines off a reader.
type lineReader struct {
	*reader
	last shoal.Key
}

// line returns the flags and the key of the next line.
func (r *lineReader) line() (flags byte, key shoal.Key) {
	flags, key = r.byte(), r.last
	if flags&lineSameFile == 0 {
		copy(key.File[:], r.take(len(key.File)))
	}
	if key.Index++; flags&lineNextIndex == 0 {
		key.Index = uint32(r.uvarint(1<<32 - 1))
	}
	r.last = key
	return flags, key
}

func (r *reader) changes() []Change {
	n := r.list(maxChanges, 1)
	if n == 0 {
		return nil
	}
	lines := lineReader{reader: r}
	changes := make([]Change, n)
	var limits Limits
	for i := range changes {
		flags, key := lines.line()
		if flags&changeLimits != 0 {
			limits = Limits{Min: r.byte(), Max: r.byte()}
		}
		c := Change{Key: key, Held: flags&changeHeld != 0, Limits: limits, Fresh: flags&changeFresh != 0}
		if flags&changeIdle != 0 {
			c.Idle = Idle(r.byte())
		}
		if flags&changeSum != 0 {
			c.Sum = shoal.Sum(r.uint32())
		}
		changes[i] = c
	}
	return changes
}

func (r *reader) lines() []shoal.Key {
	n := r.list(maxKeys, 1)
	if n == 0 {
		return nil
	}
	lines := lineReader{reader: r}
	keys := make([]shoal.Key, n)
	for i := range keys {
		_, keys[i] = lines.line()
	}
	return keys
}

func (r *reader) orders() []Order {
	n := r.list(maxChanges, 1)
	if n == 0 {
		return nil
	}
	lines := lineReader{reader: r}
	orders := make([]Order, n)
	var basis uint64
	for i := range orders {
		flags, key := lines.line()
		o := Order{Key: key, Standing: shoal.Standing{
			Class: shoal.Class(flags >> orderClassShift & 3), Keeper: flags&orderKeeper != 0,
		}}
		if flags&orderCredit != 0 {
			o.Credit = Idle(r.byte())
		}
		if !o.Standing.Keeper {
			basis += uint64(r.varint())
			o.Basis = basis
		}
		orders[i] = o
	}
	return orders
}

func (r *reader) results() []Result {
	n := r.list(maxChanges, 1)
	if n == 0 {
		return nil
	}
	results := make([]Result, n)
	for i := range results {
		results[i] = Result(r.byte())
		r.bad = r.bad || results[i] >= outcomes
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
