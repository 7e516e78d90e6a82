package blockstore

import "slices"

// restore makes the index hold what is in memory and nothing else. Meanwhile blocks are dropped,
// and puts come to their end that had begun: so memory is looked at and the index written while
// the gate is shut, a part at a time.
func (d *disk) restore() error {
	if err := d.deleteGone(); err != nil {
		return err
	}
	if err := d.deleteGoneContainers(); err != nil {
		return err
	}
	if err := d.setContainers(); err != nil {
		return err
	}
	late := d.beingWritten()
	began, err := d.syncFiles() // else the entries written now would be of blocks not yet durable
	if err != nil {
		return err
	}
	for from := uint32(0); ; {
		err := d.index.gate.alone(func() (err error) {
			from, err = d.setBatch(from, began, late)
			return err
		})
		if err != nil {
			return err
		}
		if from == 0 {
			return d.index.flush()
		}
	}
}

// deleteGone deletes the entries of places where no block is visible.
func (d *disk) deleteGone() error {
	var odd []place
	err := d.index.load(blockPrefix, func(key, value []byte) {
		e, ok := parseIndexed(key, value)
		if p, isPlace := parsePlace(key); isPlace && (!ok || !d.stands(e)) {
			odd = append(odd, p)
		}
	})
	for part := range slices.Chunk(odd, rebuildBatch) {
		if err != nil {
			break
		}
		err = d.index.gate.alone(func() error { return d.index.delete(d.emptyOf(part)...) })
	}
	return err
}

// stands reports whether the index entry e is that of a visible block.
func (d *disk) stands(e indexed) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(e.key)
	if !ok {
		return false
	}
	c := d.places.owner(n)
	return c.name == e.container && d.places.slotOf(n) == e.slot
}

// emptyOf returns those of some places where no block is visible. Where one is, its entry is as it
// should be, or setBatch makes it so.
func (d *disk) emptyOf(some []place) (empty []place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range some {
		i, ok := d.containerNamed(p.container)
		var n uint32
		if ok = ok && p.slot < d.places.containers[i].n; ok {
			n, ok = d.places.number(i, p.slot)
		}
		if !ok || d.places.at(n).state != stateVisible {
			empty = append(empty, p)
		}
	}
	return empty
}

// setBatch enters the blocks that batch returns. Those that are late may have been written after
// the Sync numbered began.
func (d *disk) setBatch(from, began uint32, late map[uint32]bool) (next uint32, err error) {
	blocks, next := d.batch(from)
	entries := make([]indexed, len(blocks))
	for i, b := range blocks {
		entries[i] = b.indexed(began - 1)
		if late[b.n] || d.pastOf(b) == pastUnsynced {
			entries[i].syncs = began
		}
	}
	return next, d.index.set(entries...)
}

// beingWritten returns the entry numbers of blocks that are not visible yet.
func (d *disk) beingWritten() map[uint32]bool {
	writing := make(map[uint32]bool)
	for from, more := uint32(0), true; more; {
		d.mu.Lock()
		end := min(from+batchSpan, d.places.end())
		for ; from < end; from++ {
			if d.places.at(from).state == stateWriting {
				writing[from] = true
			}
		}
		more = from < d.places.end()
		d.mu.Unlock()
	}
	return writing
}

// deleteGoneContainers deletes the entries of containers that are not there.
func (d *disk) deleteGoneContainers() error {
	var odd []uint64
	err := d.index.load(containerPrefix, func(_, value []byte) {
		if h, ok := parseHeader(value); ok && !d.madeContainer(h.name) {
			odd = append(odd, h.name)
		}
	})
	for part := range slices.Chunk(odd, rebuildBatch) {
		if err != nil {
			break
		}
		err = d.index.gate.alone(func() error {
			gone := slices.DeleteFunc(part, d.madeContainer)
			return d.index.deleteContainer(gone...)
		})
	}
	return err
}

// madeContainer reports whether a container is there.
func (d *disk) madeContainer(name uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.containerNamed(name)
	return ok && d.places.containers[i].made
}

// setContainers enters the containers that are there.
func (d *disk) setContainers() error {
	for from, more := 0, true; more; from += rebuildBatch {
		err := d.index.gate.alone(func() error {
			var heads []header
			heads, more = d.headers(from, from+rebuildBatch)
			return d.index.setContainer(heads...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// headers returns what the index has to say of the containers that are there, of those with an
// index from from on and below end; more: there are others.
func (d *disk) headers(from, end int) (heads []header, more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.places.containers
	for _, c := range all[min(from, len(all)):min(end, len(all))] {
		if c.made {
			heads = append(heads, d.places.header(c))
		}
	}
	return heads, end < len(all)
}
