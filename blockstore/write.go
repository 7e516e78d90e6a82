package blockstore

import "time"

// write puts the bytes on disk, then the index entry, and ends what reserve began.
func (d *disk) write(n uint32, p putting) error {
	b, err := d.writeBytes(n, p)
	d.index.gate.enter()
	defer d.index.gate.leave()
	if err == nil {
		err = d.index.set(b.indexed(d.syncs.Load())) // read after the bytes were written: see sync
	}
	d.settle(n, err == nil)
	return err
}

// writeBytes puts the bytes on disk.
func (d *disk) writeBytes(n uint32, p putting) (b block, err error) {
	d.mu.Lock()
	b = d.block(n)
	d.mu.Unlock()
	if b.packed {
		return b, d.writePacked(b, p)
	}
	return b, d.writeSparse(b, p)
}

// tailBytes is enough for what follows the whole pages of a block in its slot.
const tailBytes = 2 * pageSize

// writePacked writes a block and its record in one call: the whole pages from where they
// are, the rest from a page-aligned buffer.
func (d *disk) writePacked(b block, p putting) error {
	tail, _ := d.tails.Get().(*[]byte)
	defer d.tails.Put(tail)
	whole := len(p.data) &^ (pageSize - 1)
	rest := (*tail)[:packedBytes(len(p.data))-int64(whole)]
	clear(rest[copy(rest, p.data[whole:]):])
	var record [recordMaxLen]byte
	r := appendRecord(record[:0], p.key, len(p.data), b.dataset, p.sums)
	copy(rest[len(rest)-len(r):], r)
	return d.writeTo(b.file(), [][]byte{p.data[:whole], rest}, b.loc.Offset)
}

// writeSparse writes a block in its place, and its record in the sums file. The last page is
// written through the page cache, and zeros behind the block's end are not written at all:
// whoever is handed the file sees the bytes of the original and no others.
func (d *disk) writeSparse(b block, p putting) error {
	h, err := d.handles.get(b.file())
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	whole := len(p.data) &^ (pageSize - 1)
	if err := h.WriteAt([][]byte{p.data[:whole]}, b.loc.Offset); err != nil {
		return err
	}
	if err := h.WriteAt([][]byte{p.data[whole:]}, b.loc.Offset+int64(whole)); err != nil {
		return err
	}
	var cell [sumsCell]byte
	var record [recordMaxLen]byte
	r := appendRecord(record[:0], p.key, len(p.data), b.dataset, p.sums)
	copy(cell[sumsCell-len(r):], r)
	return d.writeTo(fileName{sumsFile, b.loc.Container}, [][]byte{cell[:]}, cellOffset(b.place.slot))
}

// writeTo writes parts to a container's file.
func (d *disk) writeTo(name fileName, parts [][]byte, off int64) error {
	h, err := d.handles.get(name)
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	return h.WriteAt(parts, off)
}

// cellOffset returns where in a sums file the record of block i ends, less a cell.
func cellOffset(i uint32) int64 { return (1 + int64(i)) * sumsCell }

// stamp returns the time as index entries have it.
func stamp() uint32 { return uint32(time.Now().Unix()) }
