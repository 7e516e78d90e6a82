package blockstore

// Which blocks are durable
//
// A disk counts its Syncs, over all runs. The index has with each block how many had begun when
// it was put, and how many had begun when the last began that has ended. So after a power loss
// it is known of each block whether a Sync has made it durable: then it is whole, and what is
// wrong with it since is the disk's doing. Else the power loss may have torn it.

// syncFiles makes durable what was written to containers, and has the index know. It returns the
// number of this Sync: blocks put with a lower one are durable. The index is not flushed.
//
// A put reads the number after it has written its bytes, so that one with a lower number had
// given them to the kernel before the Sync began.
func (d *disk) syncFiles() (began uint32, err error) {
	began = d.syncs.Add(1)
	if err := d.files.Sync(d.path); err != nil {
		return began, err
	}
	return began, d.markSynced(began)
}

// markSynced has the index know that blocks with a lower number are durable.
func (d *disk) markSynced(began uint32) error {
	d.marking.Lock()
	defer d.marking.Unlock()
	if began <= d.marked {
		return nil // a later Sync was faster
	}
	if err := d.index.setSynced(began); err != nil {
		return err
	}
	d.marked = began
	return nil
}

// pastOf returns the past of a block that is held or visible.
func (d *disk) pastOf(b block) past {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.n >= d.places.end() {
		return pastNone
	}
	return d.places.at(b.n).marks.past()
}
