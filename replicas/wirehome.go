package replicas

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/shoal-mesh/shoal"
)

// The wire form of what homes tell one another and those who Peek: digests, snapshots,
// frontiers, holders. See encode.

const (
	frontierLen = 16
	reportLen   = 8 + 1 + frontierLen // at least
	recordLen   = shoal.KeyLen + 4 + 2 + 2
)

// exchange takes what is in a Pull, Page, Meet or Met.
func (r *reader) exchange(m *Message) {
	switch m.Type {
	case MsgPull:
		m.Shards, m.Cursor = r.shards(), r.cursor()
	case MsgPage:
		m.Shards, m.Cursor = r.shards(), r.cursor()
		m.Records = r.records()
	case MsgMeet, MsgMet:
		m.Frontiers = r.reports()
	}
}

func appendFrontier(b []byte, f *shoal.Frontier) []byte {
	if f == nil {
		return append(b, 0)
	}
	b = binary.BigEndian.AppendUint64(append(b, 1), uint64(f.FreeBytes))
	b = binary.BigEndian.AppendUint32(b, math.Float32bits(f.Surplus))
	return binary.BigEndian.AppendUint32(b, math.Float32bits(f.Last))
}

func (r *reader) frontier() *shoal.Frontier {
	if !r.bool() {
		return nil
	}
	f := &shoal.Frontier{FreeBytes: int64(r.uint64()), Surplus: r.weight(), Last: r.weight()}
	return f
}

// weight takes a weight off, which is not negative, nor no number.
func (r *reader) weight() float32 {
	v := math.Float32frombits(r.uint32())
	if !(v >= 0) {
		r.bad = true
		return 0
	}
	return v
}

func appendOffer(b []byte, o *Offer) []byte {
	if o == nil {
		return append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(append(b, 1), math.Float32bits(o.Weight))
	return binary.AppendUvarint(b, uint64(o.SizeBytes))
}

func (r *reader) offer() *Offer {
	if !r.bool() {
		return nil
	}
	return &Offer{Weight: r.weight(), SizeBytes: uint32(r.uvarint(math.MaxUint32))}
}

func appendDigests(b []byte, digests []ShardDigest) []byte {
	b = binary.AppendUvarint(b, uint64(len(digests)))
	last := -1
	for _, g := range digests {
		b = binary.AppendUvarint(b, uint64(int(g.Shard)-last-1))
		last = int(g.Shard)
		b = binary.AppendUvarint(b, uint64(g.Digest.Count))
		b = binary.BigEndian.AppendUint32(b, g.Digest.Xor)
		b = binary.BigEndian.AppendUint64(b, g.Digest.Sum)
	}
	return b
}

func (r *reader) digests() []ShardDigest {
	n := r.list(Shards, 14)
	if n == 0 {
		return nil
	}
	digests := make([]ShardDigest, n)
	last := -1
	for i := range digests {
		last += 1 + int(r.uvarint(Shards))
		r.bad = r.bad || last >= Shards
		digests[i] = ShardDigest{uint16(last), Digest{
			Count: uint32(r.uvarint(math.MaxUint32)), Xor: r.uint32(), Sum: r.uint64(),
		}}
	}
	return digests
}

// runs returns how many pieces without a gap s consists of.
func (s *ShardSet) runs() int {
	n := 0
	before := uint64(0)
	for _, w := range s.words {
		n += bits.OnesCount64(w &^ (w<<1 | before))
		before = w >> 63
	}
	return n
}

func appendRuns(b []byte, s *ShardSet) []byte {
	b = binary.AppendUvarint(append(b, shardsRuns), uint64(s.runs()))
	end := 0 // of the last run
	for at := 0; at < Shards; {
		if !s.Has(uint16(at)) {
			at++
			continue
		}
		first := at
		for at < Shards && s.Has(uint16(at)) {
			at++
		}
		b = binary.AppendUvarint(b, uint64(first-end))
		b = binary.AppendUvarint(b, uint64(at-first))
		end = at
	}
	return b
}

func (r *reader) runs(s *ShardSet) {
	at := 0
	for range r.list(Shards, 2) {
		at += int(r.uvarint(Shards))
		n := int(r.uvarint(Shards))
		if at+n > Shards {
			r.bad = true
			return
		}
		for range n {
			s.Add(uint16(at))
			at++
		}
	}
}

func appendCursor(b []byte, c Cursor) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Shard)), uint64(c.Bucket))
}

func (r *reader) cursor() Cursor {
	return Cursor{Shard: int(r.uvarint(Shards)), Bucket: uint32(r.uvarint(math.MaxUint16))}
}

// appendRecords writes the nodes' names once, and numbers into that list after it.
func appendRecords(b []byte, records []Record) []byte {
	var names names
	for _, rec := range records {
		for _, id := range rec.Holders {
			names.add(id)
		}
	}
	b = names.appendTo(b)
	b = binary.AppendUvarint(b, uint64(len(records)))
	for _, rec := range records {
		b = rec.Key.AppendTo(b)
		b = binary.BigEndian.AppendUint32(b, uint32(rec.Sum))
		b = append(b, rec.Limits.Min<<4|rec.Limits.Max&15, byte(rec.Keepers), byte(len(rec.Holders)))
		for _, id := range rec.Holders {
			b = binary.AppendUvarint(b, uint64(names.index[id]))
		}
	}
	return b
}

func (r *reader) records() []Record {
	names := r.names()
	n := r.list(maxChanges, recordLen)
	if n == 0 {
		return nil
	}
	records := make([]Record, n)
	var arena []shoal.NodeID
	for i := range records {
		rec := &records[i]
		rec.Key, rec.Sum = r.key(), shoal.Sum(r.uint32())
		limits := r.byte()
		rec.Limits = Limits{Min: limits >> 4, Max: limits & 15}
		rec.Keepers = int(r.byte())
		count := int(r.byte())
		if count == 0 || count > maxRecordHolders || rec.Keepers > count {
			r.bad = true
			return nil
		}
		start := len(arena)
		if arena = r.named(arena, names, count); r.bad {
			return nil
		}
		rec.Holders = arena[start:len(arena):len(arena)]
	}
	return records
}

// appendHolders writes a number for each holder: of its name in names, its class in two bits,
// and whether it is a keeper in the last; and how many there are beyond them.
func appendHolders(b []byte, a Answer, names *names) []byte {
	b = append(b, byte(len(a.Holders)))
	for _, h := range a.Holders {
		b = binary.AppendUvarint(b, uint64(names.index[h.Node]<<3|int(h.Class)<<1)|uint64(boolByte(h.Keeper)))
	}
	return binary.AppendUvarint(b, uint64(a.More))
}

func (r *reader) holders(a *Answer, names []shoal.NodeID) {
	count := int(r.byte())
	if count == 0 || count > MaxHolders || count > len(r.b) {
		r.bad = true
		return
	}
	a.Holders = make([]Holder, count)
	for i := range a.Holders {
		v := r.uvarint(maxNames << 3)
		if v>>3 >= uint64(len(names)) {
			r.bad = true
			return
		}
		a.Holders[i] = Holder{Node: names[v>>3], Keeper: v&1 != 0, Class: shoal.Class(v >> 1 & 3)}
	}
	a.More = int(r.uvarint(maxNames))
}

// appendReports writes ages in tenths of a second, which is as well as they are known.
func appendReports(b []byte, reports []Report) []byte {
	b = binary.AppendUvarint(b, uint64(len(reports)))
	for _, rep := range reports {
		b = binary.BigEndian.AppendUint64(b, rep.Seed)
		b = binary.AppendUvarint(b, uint64(max(0, rep.Age)/100))
		b = appendFrontier(b, &rep.Frontier)
	}
	return b
}

func (r *reader) reports() []Report {
	n := r.list(maxReports, reportLen)
	if n == 0 {
		return nil
	}
	reports := make([]Report, n)
	for i := range reports {
		reports[i].Seed, reports[i].Age = r.uint64(), 100*Tick(r.uvarint(math.MaxInt32))
		if f := r.frontier(); f != nil {
			reports[i].Frontier = *f
		} else {
			r.bad = true
		}
	}
	return reports
}

// names are the nodes a message names many times: each is written once.
type names struct {
	list  []shoal.NodeID
	index map[shoal.NodeID]int
}

func (n *names) add(id shoal.NodeID) {
	if _, ok := n.index[id]; ok {
		return
	}
	if n.index == nil {
		n.index = make(map[shoal.NodeID]int)
	}
	n.index[id] = len(n.list)
	n.list = append(n.list, id)
}

func (n *names) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(n.list)))
	for _, id := range n.list {
		b = appendName(b, id)
	}
	return b
}

func (r *reader) names() []shoal.NodeID {
	names := make([]shoal.NodeID, r.list(maxNames, 1))
	for i := range names {
		names[i] = r.name()
	}
	return names
}

// named appends so many of the names, which are told by their numbers, to dst.
func (r *reader) named(dst, names []shoal.NodeID, count int) []shoal.NodeID {
	for range count {
		n := r.uvarint(maxNames)
		if n >= uint64(len(names)) {
			r.bad = true
			return dst
		}
		dst = append(dst, names[n])
	}
	return dst
}
