package blockstore

import "slices"

// A move is a block on its way from one slot to another of its class: copied, and shown in
// its old place still. Its key is claimed and its old place held.
type move struct {
	block
	to uint32 // entry number of the new place
}

// emptySlab moves the blocks of a slab to other slots of its class, and makes the slab one of no
// class. It reports whether it could: a block that is being written or read stays where it is,
// and so does one for which a put has taken the last slot. None is given up: it may be newer
// than blocks in other slabs.
func (d *disk) emptySlab(number uint32) bool {
	d.mu.Lock()
	d.closing = number
	i := d.places.slabAt[number]
	c := d.places.containers[i]
	d.mu.Unlock()
	moves, cope := d.copyOut(c.first, c.first+c.n)
	d.finish(moves)
	cope() // with no claim held: who is told of a bad block may come to wait for one
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.closing = none }()
	if d.places.containers[i].taken > 0 {
		return false
	}
	d.mu.Unlock()
	d.index.gate.enter()
	defer d.index.gate.leave()
	err := d.index.deleteContainer(c.name)
	if err != nil {
		_ = d.blame(err) // the index is made to fit when the disk heals
	}
	d.mu.Lock()
	d.places.clear(number)
	d.changed.Broadcast()
	return true
}

// copyOut copies the blocks of entries from first on, until one is busy or there is no slot left
// for one, or it fails. cope deals with that.
func (d *disk) copyOut(first, end uint32) (moves []move, cope func()) {
	for n := first; n < end; n++ {
		d.mu.Lock()
		e := d.places.at(n)
		if e.state == stateFree {
			d.mu.Unlock()
			continue
		}
		if e.state != stateVisible || d.readers[n] > 0 || d.claims.try(e.key) != nil {
			d.mu.Unlock()
			return moves, func() {}
		}
		m := move{block: d.block(n)}
		class, _ := d.places.classOf(m.loc.Length)
		to, ok := d.places.takePacked(class, d.isClosing)
		if !ok {
			d.mu.Unlock()
			d.claims.release(m.key)
			return moves, func() {}
		}
		m.to = to
		d.places.take(to, m.key, m.loc.Length, m.dataset, m.sum)
		d.datasets.add(m.dataset, d.places.occupied(to))
		d.readers[n]++
		d.mu.Unlock()
		if cope = d.copyBlock(m); cope != nil {
			return moves, cope
		}
		moves = append(moves, m)
	}
	return moves, func() {}
}

// copyBlock writes a block to its new place. The index does not name it yet. If it cannot, it
// ends the move and returns what deals with the error.
func (d *disk) copyBlock(m move) (cope func()) {
	data := make([]byte, m.loc.Length)
	sums, err := d.readWhole(m.block, data)
	if err != nil {
		d.endMove(m, err)
		return func() { _, _ = d.judge(m.block, err) }
	}
	if _, err = d.writeBytes(m.to, putting{key: m.key, data: data, sums: sums}); err != nil {
		d.endMove(m, err)
		return func() {
			if err := d.mend(err); err != nil {
				_ = d.blame(err)
			}
		}
	}
	return nil
}

// finish has the index name the new places, and shows the blocks there. A block that was
// synced must outlive a power loss wherever it is: so the copies are durable before the index
// says anything of them, and the index is before the old places are used again.
func (d *disk) finish(moves []move) {
	if len(moves) == 0 {
		return
	}
	began, err := d.syncFiles()
	d.index.gate.enter()
	defer d.index.gate.leave()
	for part := range slices.Chunk(moves, rebuildBatch) {
		if err != nil {
			break
		}
		from, to := make([]place, len(part)), make([]indexed, len(part))
		d.mu.Lock()
		for i, m := range part {
			from[i], to[i] = m.place, d.block(m.to).indexed(began-1)
		}
		d.mu.Unlock()
		err = d.index.move(from, to)
	}
	if err == nil {
		err = d.index.flush()
	}
	if err != nil {
		_ = d.blame(err)
	}
	for _, m := range moves {
		d.endMove(m, err)
	}
}

// endMove shows a block in its new place, or, if there was an error, leaves it where it was.
func (d *disk) endMove(m move, err error) {
	d.mu.Lock()
	if err == nil {
		d.table.remove(m.key)
		to := d.places.at(m.to)
		to.state = stateVisible
		to.marks |= d.places.at(m.n).marks &^ markPast // what is said of the replica, up to now
		d.places.setPasses(m.to, d.places.passes(m.n))
		d.table.add(m.key, m.to)
		d.policy.Move(m.n, m.to)
		d.places.at(m.n).state = stateDeleted // the index names the new place by now
		d.moved.Add(1)
	} else {
		d.places.at(m.to).state = stateDeleted
		d.vacate(m.to)
	}
	d.releaseLocked(m.n)
	d.mu.Unlock()
	d.claims.release(m.key)
}
