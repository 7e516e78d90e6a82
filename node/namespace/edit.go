package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"github.com/shoal-mesh/shoal"
)

// An edit gathers changes of the records, to be committed together. It lives while
// store.change is held, so what it read does not change under it.
type edit struct {
	db      *pebble.DB
	batch   *pebble.Batch
	hash    func([]byte) uint64
	now     int64           // when it began
	issued  map[uint64]bool // ids new in this batch
	entries int64           // names added less names removed
	touched []nameOf        // the names of records that were set or deleted
	changes []change
}

// edit runs fn and commits what it did, then tells Config.OnChange of the changes.
func (n *Namespace) edit(fn func(*edit) error) error {
	stored := false
	changes, err := n.commit(func(e *edit) error {
		if err := fn(e); err != nil || !n.changes.full() {
			return err
		}
		stored = len(e.changes) > 0
		return e.storeChanges()
	})
	n.changes.post(changes, stored && err == nil)
	return err
}

// commit runs fn and commits what it did. It returns what changed and is not in the store.
func (n *Namespace) commit(fn func(*edit) error) ([]change, error) {
	n.store.change.Lock()
	defer n.store.change.Unlock()
	db, err := n.store.open()
	if err != nil {
		return nil, err
	}
	defer n.store.mu.RUnlock()
	e := &edit{db: db, batch: db.NewBatch(), hash: n.hash, now: n.cfg.Now().UnixNano(), issued: map[uint64]bool{}}
	err = fn(e)
	if err == nil && !e.batch.Empty() {
		if e.entries != 0 {
			total := uint64(n.entries.Load() + e.entries)
			err = e.batch.Set([]byte{metaSpace}, binary.BigEndian.AppendUint64(nil, total), nil)
		}
		err = errors.Join(err, e.batch.Commit(pebble.Sync))
		n.store.recall.drop(e.touched) // before anything tells of the commit
	}
	err = errors.Join(err, e.batch.Close())
	if err != nil {
		return nil, fmt.Errorf("write metadata: %w", err)
	}
	n.entries.Add(e.entries)
	return e.changes, nil
}

// set records what the UFS said of name in d when asked at asked. old is the record
// there was, nil if none. It returns the record there is now.
func (e *edit) set(d *dir, name string, old *nameRecord, info shoal.FileInfo, asked int64) (nameRecord, error) {
	info = plain(info)
	if old != nil && sameKind(old.info, info) && old.info.Version == info.Version {
		now := *old
		now.info, now.fetched = info, asked
		if !e.newer(old.expired, asked) {
			now.expired = 0
		}
		if sameInfo(old.info, info) {
			return now, e.put(d, name, now)
		}
		if !info.IsDir() {
			e.changes = append(e.changes, change{parent: d.id, name: name, id: old.id})
		}
		return now, errors.Join(e.put(d, name, now), e.putNode(d, name, now))
	}
	id, err := e.issue(d.id, join(d.path, name), name, d.mount.tag, info)
	if err != nil {
		return nameRecord{}, err
	}
	now := nameRecord{id: id, tag: d.mount.tag, fetched: asked, info: info}
	switch {
	case old != nil:
		e.changes = append(e.changes, change{parent: d.id, name: name, id: old.id})
	case d.listed.Load() != nil: // and did not have it
		e.changes = append(e.changes, change{parent: d.id, name: name})
	}
	if old == nil {
		e.entries++
	}
	return now, errors.Join(e.put(d, name, now), e.putNode(d, name, now))
}

// newer reports whether news from at outdate an answer to a request of asked. News from
// the future do not: the clock was wrong then or is wrong now.
func (e *edit) newer(at, asked int64) bool { return at > asked && at <= e.now }

// remove records that name in d is gone.
func (e *edit) remove(d *dir, name string, old nameRecord) error {
	e.entries--
	e.changes = append(e.changes, change{parent: d.id, name: name, id: old.id})
	return e.drop(d, name)
}

func (e *edit) drop(d *dir, name string) error {
	e.touched = append(e.touched, nameOf{d.id, name})
	return e.batch.Delete(nameKey(d.id, name), nil)
}

func (e *edit) put(d *dir, name string, r nameRecord) error {
	e.touched = append(e.touched, nameOf{d.id, name})
	return e.batch.Set(nameKey(d.id, name), r.encode(), nil)
}

func (e *edit) putNode(d *dir, name string, r nameRecord) error {
	node := nodeRecord{parent: d.id, tag: r.tag, path: join(d.path, name), fetched: r.fetched, info: r.info}
	return e.batch.Set(nodeKey(r.id), node.encode(), nil)
}

// issue returns the id of name at the path at, in the directory parent, with info: the one
// it had before, or a new one. The caller stores it in the same edit.
func (e *edit) issue(parent uint64, at, name string, tag uint64, info shoal.FileInfo) (uint64, error) {
	id := e.hash(idInput(parent, name, tag, info))
	for ; ; id++ {
		id &= shoal.LastID
		if id < shoal.FirstID || e.issued[id] {
			continue
		}
		have, ok, err := readNode(e.db, id)
		if err != nil {
			return 0, err
		}
		if ok && !sameNode(have, at, tag, info) {
			continue
		}
		e.issued[id] = true
		return id, nil
	}
}

// idInput returns what an id is the hash of. A file's includes its version and the UFS
// that knows it by it; a directory's does not, for it stays the same directory.
func idInput(parent uint64, name string, tag uint64, info shoal.FileInfo) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32+len(name)+len(info.Version)), parent)
	b = appendString(b, name)
	if info.IsDir() {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, tag)
	return appendString(b, string(info.Version))
}

// sameNode reports whether the id of have is the one for these.
func sameNode(have nodeRecord, at string, tag uint64, info shoal.FileInfo) bool {
	if have.path != at || !sameKind(have.info, info) {
		return false
	}
	return info.IsDir() || (have.tag == tag && have.info.Version == info.Version)
}

// plain returns info as it is kept: without its name, and of a directory without size
// and version.
func plain(info shoal.FileInfo) shoal.FileInfo {
	info.Name = ""
	if info.IsDir() {
		info.Size, info.Version = 0, ""
	}
	return info
}

// usable reports whether info can be shown: a file or a directory with a sane size.
func usable(info shoal.FileInfo) bool {
	return (info.IsDir() || info.Mode.IsRegular()) && info.Size >= 0
}

func sameKind(a, b shoal.FileInfo) bool { return a.IsDir() == b.IsDir() }

func sameInfo(a, b shoal.FileInfo) bool {
	return a.Size == b.Size && a.Mode == b.Mode && a.Version == b.Version && a.ModTime.Equal(b.ModTime)
}

// hashID is the hash that ids are made with.
func hashID(b []byte) uint64 { return xxh3.Hash(b) }

// learnStat records the answer to a Stat of name in d, asked at asked.
func (n *Namespace) learnStat(d *dir, name string, info shoal.FileInfo, asked int64) (now nameRecord, err error) {
	err = n.edit(func(e *edit) error {
		old, ok, err := readName(e.db, d.id, name, d.mount.tag)
		if err != nil {
			return err
		}
		if ok {
			now, err = e.set(d, name, &old, info, asked)
			return err
		}
		foreign, err := read(e.db, nameKey(d.id, name), func([]byte) bool { return true })
		if err != nil {
			return err
		}
		if foreign { // of another mount: overwritten
			e.entries--
		}
		now, err = e.set(d, name, nil, info, asked)
		return err
	})
	n.appeared(d, name)
	return now, err
}

// learnAbsent records that name in d did not exist when the UFS was asked at asked.
func (n *Namespace) learnAbsent(d *dir, name string, asked int64) error {
	return n.edit(func(e *edit) error {
		old, ok, err := readName(e.db, d.id, name, d.mount.tag)
		if err != nil {
			return err
		}
		if ok && e.newer(old.fetched, asked) {
			return nil
		}
		n.negatives.add(d.id, name, asked)
		if !ok {
			return nil
		}
		return e.remove(d, name, old)
	})
}

// learnExpired records that what is known of name in d under the id id is not true any
// more.
func (n *Namespace) learnExpired(d *dir, name string, id uint64, now int64) error {
	return n.edit(func(e *edit) error {
		r, ok, err := readName(e.db, d.id, name, d.mount.tag)
		if err != nil || !ok || r.id != id {
			return err
		}
		r.expired = now
		return e.put(d, name, r)
	})
}

// place gives p its id and its record, the ones it had before if it had.
func (n *Namespace) place(p *point) error {
	p.info = shoal.FileInfo{Name: p.path, Mode: fs.ModeDir | 0o755, ModTime: n.cfg.Now().UTC()}
	p.id = shoal.RootID
	var tag uint64
	if p.mount != nil {
		tag = p.mount.tag
	}
	return n.edit(func(e *edit) error {
		if p.parent != p {
			p.info.Name = path.Base(p.path)
			var err error
			if p.id, err = e.issue(p.parent.id, p.path, p.info.Name, tag, p.info); err != nil {
				return err
			}
		}
		have, ok, err := readNode(e.db, p.id)
		if err != nil {
			return err
		}
		if ok && have.fetched == 0 && have.info.IsDir() {
			p.info.ModTime = have.info.ModTime
		}
		node := nodeRecord{parent: p.parent.id, tag: tag, path: p.path, info: plain(p.info)}
		return e.batch.Set(nodeKey(p.id), node.encode(), nil)
	})
}
