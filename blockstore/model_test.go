package blockstore

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoal-mesh/shoal"
)

// model is what a store of one disk with LRU and no watermarks must do.
type model struct {
	limit int64
	order []shoal.Key // oldest first
	data  map[shoal.Key][]byte
	told  []shoal.Key
}

func (m *model) bytes() (n int64) {
	for _, d := range m.data {
		n += occupied(len(d))
	}
	return n
}

func (m *model) touch(key shoal.Key) {
	m.order = append(slices.DeleteFunc(m.order, func(k shoal.Key) bool { return k == key }), key)
}

func (m *model) drop(key shoal.Key) {
	m.order = slices.DeleteFunc(m.order, func(k shoal.Key) bool { return k == key })
	delete(m.data, key)
}

func (m *model) put(key shoal.Key, data []byte) {
	if m.data[key] != nil {
		return
	}
	for m.bytes()+occupied(len(data)) > m.limit {
		m.told = append(m.told, m.order[0])
		m.drop(m.order[0])
	}
	m.data[key] = data
	m.touch(key)
}

// TestModel runs random histories of puts, reads, removals and restarts. After a restart
// the order is that of the puts, so the model's reads before it are forgotten.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := fastDir(t)
		m := &model{limit: 40 * pageSize, data: make(map[shoal.Key][]byte)}
		var told, puts []shoal.Key
		cfg := oneDisk(dir, m.limit)
		cfg.High, cfg.Low = 1, 1
		cfg.OpenFiles = 3
		cfg.OnEvict = func(keys []shoal.Key) { told = append(told, keys...) }
		open := func() *Store {
			s, err := Open(cfg)
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { _ = s.Close() }()
		anyKey := rapid.Custom(func(rt *rapid.T) shoal.Key { return testKey(rapid.Uint32Range(0, 30).Draw(rt, "key")) })
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				key := anyKey.Draw(rt, "key")
				data := randomBytes(uint64(key.File[0]), rapid.IntRange(1, 70_000).Draw(rt, "size"))
				if m.data[key] == nil {
					puts = append(puts, key)
				}
				m.put(key, data)
				if err := s.Put(key, data, shoal.ChunkSums(key, data)); err != nil {
					rt.Fatal(err)
				}
			},
			"read": func(rt *rapid.T) {
				key := anyKey.Draw(rt, "key")
				want, ok := m.data[key]
				got := make([]byte, len(want))
				_, err := s.ReadAt(key, got, 0)
				if ok != (err == nil) || !ok && !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(got, want) {
					rt.Fatalf("ReadAt(%v) = %v, want present %v and the same bytes", key, err, ok)
				}
				if ok {
					m.touch(key)
				}
			},
			"remove": func(rt *rapid.T) {
				key := anyKey.Draw(rt, "key")
				_, ok := m.data[key]
				m.drop(key)
				if err := s.Remove(key); ok != (err == nil) {
					rt.Fatalf("Remove(%v) = %v, want present %v", key, err, ok)
				}
			},
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open()
				m.order = nil
				for _, k := range puts {
					if m.data[k] != nil {
						m.touch(k)
					}
				}
			},
			"": func(rt *rapid.T) {
				if !slices.Equal(told, m.told) {
					rt.Fatalf("told of %v, want %v", told, m.told)
				}
				var keys []shoal.Key
				for k := range s.Keys() {
					keys = append(keys, k)
				}
				if len(keys) != len(m.data) || len(maps.Collect(s.Keys())) != len(m.data) || s.Stats().Bytes != m.bytes() {
					rt.Fatalf("%d blocks of %d bytes, want %d of %d", len(keys), s.Stats().Bytes, len(m.data), m.bytes())
				}
			},
		})
	})
}
