package blockstore

import (
	"errors"
	"io"

	"github.com/shoal-mesh/shoal"
)

// file enters the blocks of a sparse container. One without a header it can read is left for
// scan to remove.
func (r *rebuilder) file(name uint64) (blocks int, err error) {
	sumsName := fileName{sumsFile, name}
	sums, err := r.handles.get(sumsName)
	if err != nil {
		return 0, r.unread.lost(err)
	}
	defer r.handles.release(sums)
	head, err := readHeader(sums)
	if err != nil || head.slot != 0 || head.name != name || name < 1<<bootShift {
		return 0, r.unread.lost(err)
	}
	blocksFile, err := r.handles.get(fileName{sparseFile, name})
	if err != nil {
		return 0, r.unread.lost(err)
	}
	r.handles.release(blocksFile)
	r.disk.mu.Lock()
	r.addContainer(head, nil)
	r.disk.mu.Unlock()
	if err := r.index.setContainer(head); err != nil {
		return 0, err
	}
	var found []indexed
	err = r.cells(sumsName, sums, uint32(max(1, shoal.Blocks(head.size))), func(i uint32, cell []byte) {
		if rec, ok := parseRecord(cell); ok && rec.key == (shoal.Key{File: head.file, Index: i}) {
			found = append(found, rec.indexed(name, i, r.syncs.Load()))
		}
	})
	if err != nil {
		return 0, err
	}
	return r.enter(found)
}

// sumsPiece is how many bytes of a sums file are read at once, at most.
const sumsPiece = 256 << 10

// cells calls visit with those of the first n cells of a sums file that can be read and are not
// holes: of a large file little may be there.
func (r *rebuilder) cells(name fileName, sums file, n uint32, visit func(i uint32, cell []byte)) error {
	buf := make([]byte, min(sumsPiece, int64(n)*sumsCell))
	for off, last := cellOffset(0), cellOffset(n); off < last; {
		from, end, err := sums.Data(off)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.unread.lost(err)
		}
		off = max(off, from&^(sumsCell-1))
		for end = min(last, (end+sumsCell-1)&^(sumsCell-1)); off < end; {
			piece := buf[:min(int64(len(buf)), end-off)]
			if err := r.piece(name, sums, off, piece, visit); err != nil {
				return err
			}
			off += int64(len(piece))
		}
	}
	return nil
}

// piece is cells of a piece at off. If it cannot be read whole, its cells are read one by one.
func (r *rebuilder) piece(name fileName, sums file, off int64, piece []byte, visit func(i uint32, cell []byte)) error {
	whole := readFull(sums, [][]byte{piece}, off, false) == nil
	for ; len(piece) > 0; piece, off = piece[sumsCell:], off+sumsCell {
		cell := piece[:sumsCell]
		if !whole {
			if err := readFull(sums, [][]byte{cell}, off, false); err != nil {
				if err := r.unread.lostAt(name, off, sumsCell, err, nil); err != nil {
					return err
				}
				continue
			}
		}
		visit(uint32(off/sumsCell-1), cell)
	}
	return nil
}
