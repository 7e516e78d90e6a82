package namespace

import (
	"encoding/binary"
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// storeChanges keeps the changes made so far in the store rather than in RAM.
func (e *edit) storeChanges() error {
	for _, ch := range e.changes {
		if err := e.batch.Set(changeKey(ch), nil, nil); err != nil {
			return err
		}
	}
	e.changes = nil
	return nil
}

// takeChanges removes some changes from the store and returns them.
func (n *Namespace) takeChanges() (list []change) {
	_, err := n.commit(func(e *edit) (err error) {
		list, err = e.takeChanges(pageSize)
		return err
	})
	if err != nil {
		n.cfg.Logger.Warn("changes of names that are not told", slog.Any("error", err))
		return nil
	}
	return list
}

func (e *edit) takeChanges(limit int) (list []change, err error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{changeSpace}, UpperBound: []byte{changeSpace + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && len(list) < limit; ok = it.Next() {
		if ch, ok := decodeChange(it.Key()); ok {
			list = append(list, ch)
		}
		if err := e.batch.Delete(it.Key(), nil); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func changeKey(ch change) []byte {
	b := appendKey(changeSpace, ch.parent, string(binary.BigEndian.AppendUint64(nil, ch.id)))
	return append(b, ch.name...)
}

func decodeChange(key []byte) (ch change, ok bool) {
	if len(key) < keyPrefix+8 {
		return change{}, false
	}
	return change{
		parent: binary.BigEndian.Uint64(key[1:]),
		id:     binary.BigEndian.Uint64(key[keyPrefix:]),
		name:   string(key[keyPrefix+8:]),
	}, true
}
