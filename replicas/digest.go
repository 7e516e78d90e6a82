package replicas

// A Digest sums up a set of keys of one shard: what one node holds of it, or is believed to
// hold (policy.md §2.5). Two sets with the same Digest are the same.
type Digest struct {
	Sum   uint64 // of the keys' hashes
	Xor   uint32 // of the upper halves of the hashes
	Count uint32
}

func (g *Digest) add(hash uint64) {
	g.Sum += hash
	g.Xor ^= uint32(hash >> 32)
	g.Count++
}

func (g *Digest) remove(hash uint64) {
	g.Sum -= hash
	g.Xor ^= uint32(hash >> 32)
	g.Count--
}

// digests are those of the blocks the node holds, per shard: 1 MB. They follow what is
// announced, so whoever forgets to announce something makes them false; each scan of the
// store sets them right again. Until the first scan nothing is known.
type digests struct {
	of    []Digest  // by shard
	known *ShardSet // shards whose digest is of all that the node holds
	fresh []Digest  // those that the scan in progress has come to; nil outside
	vague *ShardSet // shards of which that scan does not know whether it counted a block
}

func newDigests() digests { return digests{of: make([]Digest, Shards), known: new(ShardSet)} }

// beginScan starts to count anew.
func (d *digests) beginScan() {
	d.fresh, d.vague = make([]Digest, Shards), new(ShardSet)
}

// count takes in a block that the scan came to, of which nothing was told since it began.
func (d *digests) count(hash uint64) {
	if d.fresh != nil {
		d.fresh[uint16(hash)].add(hash)
	}
}

// add takes in that a block was added.
func (d *digests) add(hash uint64) {
	d.of[uint16(hash)].add(hash)
	d.count(hash)
}

// drop takes in that a block was dropped. If nothing was told of it since the scan began,
// the scan may have counted it or not.
func (d *digests) drop(hash uint64, told bool) {
	d.of[uint16(hash)].remove(hash)
	if d.fresh == nil {
		return
	}
	d.fresh[uint16(hash)].remove(hash)
	if !told {
		d.vague.Add(uint16(hash))
	}
}

// endScan believes what was counted anew, and calls differs for each shard whose digest
// was false. Of a shard that is vague, what was believed before goes on to be.
func (d *digests) endScan(differs func(shard uint16)) {
	for i := range d.fresh {
		s := uint16(i)
		if d.vague.Has(s) {
			continue
		}
		was := d.of[s]
		d.of[s] = d.fresh[s]
		if !d.known.Add(s) && was != d.of[s] {
			differs(s)
		}
	}
	d.abortScan()
}

func (d *digests) abortScan() { d.fresh, d.vague = nil, nil }

// A ShardDigest is the Digest of what a node holds of one shard.
type ShardDigest struct {
	Shard  uint16
	Digest Digest
}
