package namespace

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/shoal-mesh/shoal"
)

// learnPage records infos, which are all the names of d after after up to last ("": all
// further ones) that the UFS had when asked at asked.
func (n *Namespace) learnPage(d *dir, l *listing, infos []shoal.FileInfo, after, last string, asked int64) error {
	var missing int64
	err := n.edit(func(e *edit) error {
		it, err := e.db.NewIter(nameRange(d.id, after, last))
		if err != nil {
			return err
		}
		missing, err = e.merge(d, it, infos, asked)
		// Noted before the commit: who sees it too early looks in vain, once.
		l.missing.Add(missing)
		return errors.Join(err, it.Close())
	})
	for _, info := range infos {
		n.appeared(d, info.Name)
	}
	return err
}

// merge sets infos, in name order, against the records that it goes over. It returns how
// many of those infos lack; they are noted for the end of the listing.
func (e *edit) merge(d *dir, it *pebble.Iterator, infos []shoal.FileInfo, asked int64) (missing int64, err error) {
	for ok := it.First(); ok; ok = it.Next() {
		name := string(it.Key()[keyPrefix:])
		for len(infos) > 0 && infos[0].Name < name {
			if _, err := e.set(d, infos[0].Name, nil, infos[0], asked); err != nil {
				return 0, err
			}
			infos = infos[1:]
		}
		r, err := decodeName(it.Value())
		foreign := err != nil || r.tag != d.mount.tag
		if foreign {
			e.entries--
			if err := e.drop(d, name); err != nil {
				return 0, err
			}
		}
		switch {
		case len(infos) > 0 && infos[0].Name == name:
			err = e.confirm(d, name, r, foreign, infos[0], asked)
			infos = infos[1:]
		case !foreign && !e.newer(r.asOf(), asked):
			missing++
			err = e.batch.Set(missingKey(d.id, name), binary.BigEndian.AppendUint64(nil, uint64(asked)), nil)
		default:
			err = nil
		}
		if err != nil {
			return 0, err
		}
	}
	for _, info := range infos {
		if _, err := e.set(d, info.Name, nil, info, asked); err != nil {
			return 0, err
		}
	}
	return missing, nil
}

// confirm records that a listing has name, of which the record is r. It writes nothing
// if nothing is new: the complete listing is what makes the name fresh.
func (e *edit) confirm(d *dir, name string, r nameRecord, foreign bool, info shoal.FileInfo, asked int64) error {
	if foreign {
		_, err := e.set(d, name, nil, info, asked)
		return err
	}
	if e.newer(r.asOf(), asked) || (r.expired == 0 && sameInfo(r.info, plain(info))) {
		return nil
	}
	_, err := e.set(d, name, &r, info, asked)
	return err
}

// clearMissing drops the notes of a listing that did not end.
func (n *Namespace) clearMissing(d *dir) error {
	return n.edit(func(e *edit) error {
		it, err := e.db.NewIter(missingRange(d.id))
		if err != nil {
			return err
		}
		if it.First() {
			err = e.batch.DeleteRange(appendKey(missingSpace, d.id, ""), afterPrefix(missingSpace, d.id), nil)
		}
		return errors.Join(err, it.Close())
	})
}

// learnList records that the listing l of d is complete, with so many entries: what it did
// not see is gone.
func (n *Namespace) learnList(d *dir, l *listing, entries int64) error {
	for more := l.missing.Load() > 0; more; {
		err := n.edit(func(e *edit) (err error) {
			more, err = e.removeMissing(d)
			return err
		})
		if err != nil {
			return err
		}
	}
	record := listRecord{tag: d.mount.tag, started: l.started, done: n.cfg.Now().UnixNano(), entries: entries}
	err := n.edit(func(e *edit) error { return e.batch.Set(listKey(d.id), record.encode(), nil) })
	if err != nil {
		return err
	}
	d.listed.Store(&record)
	if now := n.dirs.find(d.id); now != nil && now != d {
		now.listed.Store(&record)
	}
	return nil
}

// removeMissing removes a page of the names that the listing of d did not see and nobody
// saw since. more reports that there may be others.
func (e *edit) removeMissing(d *dir) (more bool, err error) {
	it, err := e.db.NewIter(missingRange(d.id))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	done := 0
	for ok := it.First(); ok; ok = it.Next() {
		if done == pageSize {
			return true, nil
		}
		done++
		name := string(it.Key()[keyPrefix:])
		r, found, err := readName(e.db, d.id, name, d.mount.tag)
		if err != nil {
			return false, err
		}
		if found && len(it.Value()) == 8 && !e.newer(r.asOf(), int64(binary.BigEndian.Uint64(it.Value()))) {
			if err := e.remove(d, name, r); err != nil {
				return false, err
			}
		}
		if err := e.batch.Delete(it.Key(), nil); err != nil {
			return false, err
		}
	}
	return false, nil
}

func missingRange(dir uint64) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: appendKey(missingSpace, dir, ""), UpperBound: afterPrefix(missingSpace, dir)}
}
