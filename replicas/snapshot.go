package replicas

import (
	"cmp"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// A Record is what one home tells another of one key.
type Record struct {
	Key     shoal.Key
	Sum     shoal.Sum
	Limits  Limits
	Keepers int            // how many of Holders, which are the first, are keepers
	Holders []shoal.NodeID // at most maxRecordHolders
}

// A Cursor is a place among the shards that a Pull asks about.
type Cursor struct {
	Shard  int    // the first that is not told completely; Shards: there is none
	Bucket uint32 // within the shard: how many buckets of it have been told
}

const (
	// maxRecords is how many records a Page has, and maxRecordHolders how many holders one
	// of them names: more cost more than they are worth, as digests find the others.
	maxRecords       = 2048 // about 70 KB
	maxRecordHolders = 64

	maxPulls  = 8 // from as many homes at a time
	pullTries = 3 // until another home is asked
)

// A pull brings a snapshot from one home: of shards that are new here.
type pull struct {
	from   shoal.NodeID
	shards *ShardSet // that are not told completely
	asked  *ShardSet // those the last Pull asked about
	at     Cursor
	seq    uint64 // of the Pull that has no answer yet; 0 when there is none
	sentAt Tick
	tries  int
}

// snapshots are what a home that is new to shards still has to pull. A home that nobody
// can tell anything is told by the holders alone.
type snapshots struct {
	pulls []*pull        // by home
	tried *[Shards]uint8 // by shard: homes that have been asked, or are being asked
	seq   uint64
	due   Tick // no Pull before: what came lately is enough for now
}

// pullShard looks for a home to pull shard from that has not been asked.
func (d *Directory) pullShard(now Tick, shard uint16) {
	if d.snapshots.tried == nil {
		d.snapshots.tried = new([Shards]uint8)
	}
	for try := d.snapshots.tried[shard]; try < sources; try++ {
		d.snapshots.tried[shard] = try + 1
		id := d.source(shard, try)
		p := d.byID[id]
		if p == nil || p.away || id == d.self || try > 0 && id == d.otherHome(shard) {
			continue
		}
		d.pullFrom(id, shard)
		d.pulling.Add(shard)
		return
	}
	d.endPull(now, shard)
}

// sources is how many homes source names.
const sources = 5

// source returns who may know a shard that is new here: the other home there is now, then
// those there were before, then those that would be next, which were homes until a moment
// ago when this node has just joined.
func (d *Directory) source(shard uint16, try uint8) shoal.NodeID {
	switch try {
	case 0:
		return d.otherHome(shard)
	case 1, 2:
		return d.before.name(d.before.homes[shard][try-1])
	}
	return d.table.name(d.table.after(shard, d.self)[try-3])
}

func (d *Directory) pullFrom(id shoal.NodeID, shard uint16) {
	at, found := slices.BinarySearchFunc(d.snapshots.pulls, id, func(p *pull, id shoal.NodeID) int { return cmp.Compare(p.from, id) })
	if !found {
		d.snapshots.pulls = slices.Insert(d.snapshots.pulls, at, &pull{from: id, shards: new(ShardSet)})
	}
	p := d.snapshots.pulls[at]
	p.shards.Add(shard)
	if int(shard) < p.at.Shard {
		p.at = Cursor{}
	}
}

// endPull stops to wait for a snapshot of shard.
func (d *Directory) endPull(now Tick, shard uint16) {
	if d.snapshots.tried != nil {
		d.snapshots.tried[shard] = 0
	}
	if !d.pulling.Remove(shard) {
		return
	}
	if d.pulling.Len() == 0 {
		d.snapshots.tried = nil
		for _, p := range d.members {
			p.auditAt = now + d.rules.RetryAfter/4 // holders may be about to tell by themselves
		}
	}
}

// dropPull forgets shard in all pulls: it is this home's no more.
func (d *Directory) dropPull(now Tick, shard uint16) {
	for _, p := range d.snapshots.pulls {
		p.shards.Remove(shard)
	}
	d.endPull(now, shard)
}

// nextHome asks other homes for the shards of p, which does not answer or has gone.
func (d *Directory) nextHome(now Tick, p *pull) {
	shards := p.shards
	*p = pull{from: p.from, shards: new(ShardSet)} // it may be asked about some of them once more
	for s := range shards.All {
		d.pullShard(now, s)
	}
}

// pullSome returns the Pulls that are due.
func (d *Directory) pullSome(now Tick) []Message {
	var out []Message
	busy := 0
	for _, p := range slices.Clone(d.snapshots.pulls) {
		q := d.byID[p.from]
		late := p.seq != 0 && now >= p.sentAt+2*d.rules.RetryAfter
		switch {
		case q == nil || q.away || late && p.tries >= pullTries:
			d.nextHome(now, p)
			continue
		case p.shards.Len() == 0:
			continue
		case p.seq != 0 && !late:
			busy++
			continue
		case busy >= maxPulls || now < d.snapshots.due:
			continue
		}
		busy++
		d.snapshots.seq++
		p.seq, p.sentAt = d.snapshots.seq, now
		p.tries++
		p.asked = p.shards.clone()
		out = append(out, Message{
			Type: MsgPull, From: d.self, To: p.from, View: d.table.view, Boot: d.boot, ToBoot: q.boot,
			Seq: p.seq, Shards: p.asked, Cursor: p.at,
		})
	}
	d.snapshots.pulls = slices.DeleteFunc(d.snapshots.pulls, func(p *pull) bool { return p.shards.Len() == 0 })
	return out
}

// page answers a Pull with what this home knows, or knew until it lost the shard.
func (d *Directory) page(now Tick, m Message) Message {
	reply := d.reply(m, MsgPage)
	reply.Cursor = Cursor{Shard: Shards}
	if d.byID[m.From] == nil {
		reply.Shards = m.Shards
		return reply
	}
	vague := new(ShardSet)
	for s := range m.Shards.All {
		if int(s) < m.Cursor.Shard {
			continue
		}
		if !d.vouches(now, s) {
			vague.Add(s)
			continue
		}
		at := Cursor{Shard: int(s)}
		if int(s) == m.Cursor.Shard {
			at.Bucket = m.Cursor.Bucket
		}
		if !d.pageShard(&reply, at) {
			break
		}
	}
	if vague.Len() > 0 {
		reply.Shards = vague
	}
	return reply
}

// vouches reports whether this home knows what there is to be known of shard.
func (d *Directory) vouches(now Tick, shard uint16) bool {
	return d.whole.Has(shard) || d.owned.Has(shard) && now >= d.gains[d.gained[shard]]+d.rules.Warm
}

// pageShard appends the entries of a shard from at on to the reply, and reports whether
// all found room.
func (d *Directory) pageShard(reply *Message, at Cursor) bool {
	for b, n := at.Shard+int(at.Bucket)*Shards, at.Bucket; b < len(d.entries.heads); b, n = b+Shards, n+1 {
		if len(reply.Records) >= maxRecords {
			reply.Cursor = Cursor{Shard: at.Shard, Bucket: n}
			return false
		}
		for slot := d.entries.heads[b]; slot != 0; slot = d.entries.at(slot).next {
			if r := d.record(slot); len(r.Holders) > 0 {
				reply.Records = append(reply.Records, r)
			}
		}
	}
	return true
}

// paged takes in a Page.
func (d *Directory) paged(now Tick, m Message) {
	i := slices.IndexFunc(d.snapshots.pulls, func(p *pull) bool { return p.from == m.From && p.seq != 0 && p.seq == m.Seq })
	if i < 0 {
		return
	}
	p := d.snapshots.pulls[i]
	for _, r := range m.Records {
		if hash := HashKey(r.Key); p.shards.Has(uint16(hash)) {
			d.restore(r, hash)
			d.counts.Pulled++
		}
	}
	p.seq = 0
	if c := m.Cursor; c.Shard > p.at.Shard || c.Shard == p.at.Shard && c.Bucket > p.at.Bucket {
		p.tries = 0
	}
	p.at = m.Cursor
	for s := range p.shards.All {
		switch {
		case int(s) >= m.Cursor.Shard:
		case !p.asked.Has(s):
			p.at = Cursor{} // came in the meantime
		case m.Shards.Has(s):
			p.shards.Remove(s)
			d.pullShard(now, s)
		default:
			p.shards.Remove(s)
			d.whole.Add(s)
			d.endPull(now, s)
		}
	}
	d.snapshots.due = max(now, d.snapshots.due) + Tick(len(m.Records)*1000/d.rules.PullRecords)
}

// record returns what is known of the block in slot.
func (d *Directory) record(slot uint32) Record {
	e := d.entries.at(slot)
	r := Record{Key: e.key, Sum: e.sum, Limits: e.Limits()}
	var few [16]uint16
	for i, n := range d.entries.holders(slot, few[:0]) {
		if p := d.numbers[n]; p != nil && len(r.Holders) < maxRecordHolders {
			r.Holders = append(r.Holders, p.id)
			if i < e.Keepers() {
				r.Keepers++
			}
		}
	}
	return r
}

// restore takes in what another home knows of a key: as far as members have not told it
// here, and are not about to.
func (d *Directory) restore(r Record, hash uint64) {
	shard := uint16(hash)
	for i, id := range r.Holders {
		p := d.byID[id]
		if p == nil || p.bits >= p.most || !p.away && (!p.missing.Has(shard) || p.pushing.Has(shard)) {
			continue
		}
		slot := d.entries.put(r.Key, hash)
		if e := d.entries.at(slot); e.sum == 0 {
			e.sum = r.Sum
			e.SetLimits(r.Limits)
		}
		if !d.gainHolder(slot, p, hash, untold) {
			d.retellTo(slot, p)
		}
		if i < r.Keepers && !d.arranges(shard) {
			d.entries.hint(slot, p.number)
		}
	}
}
