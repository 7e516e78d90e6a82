package node

import (
	"context"
	"errors"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// A PathInfo is one name of the namespace and what this node has of it.
type PathInfo struct {
	Path         string        `json:"path"`
	Dir          bool          `json:"dir"`
	Size         int64         `json:"size"`
	ModTime      time.Time     `json:"mod_time"`
	Version      shoal.Version `json:"version,omitempty"`
	File         string        `json:"file_id,omitempty"`
	AgeS         float64       `json:"age_s"` // since the UFS last confirmed it
	Stale        bool          `json:"stale,omitempty"`
	Mount        string        `json:"mount"`
	Blocks       int           `json:"blocks"`
	BlocksCached int           `json:"blocks_cached"` // of these, in this node's store
}

// A BlockInfo says who holds one block of a file.
type BlockInfo struct {
	Index   uint32   `json:"index"`
	Length  int      `json:"length"`
	Local   bool     `json:"local"` // this node is one of the holders
	Holders []Holder `json:"holders"`
	Filler  *Holder  `json:"filler,omitempty"`
}

// A Holder names a node to programs and to people.
type Holder struct {
	ID   shoal.NodeID `json:"id"`
	Name string       `json:"name"` // empty when the node has just left
}

// A PathStat is a PathInfo with the replicas of each block in the mesh.
type PathStat struct {
	PathInfo
	Replicas []BlockInfo `json:"replicas"`
}

// maxStatBlocks bounds the blocks of a PathStat: a file of 256 GiB.
const maxStatBlocks = 1 << 16

// describe returns what is known of an entry here.
func (a *Agent) describe(e shoal.Entry) PathInfo {
	p := PathInfo{
		Path: e.Path, Dir: e.Info.IsDir(), Size: e.Info.Size, ModTime: e.Info.ModTime, Version: e.Info.Version,
		Stale: e.Stale, Mount: e.Mount,
	}
	if !e.Fetched.IsZero() {
		p.AgeS = time.Since(e.Fetched).Seconds()
	}
	if p.Dir {
		return p
	}
	p.File = e.File.String()
	p.Blocks = shoal.Blocks(e.Info.Size)
	for i := range p.Blocks {
		if a.store.Has(shoal.Key{File: e.File, Index: uint32(i)}) {
			p.BlocksCached++
		}
	}
	return p
}

// Stat describes one path and asks the directory who holds its blocks.
func (a *Agent) Stat(ctx context.Context, path string) (PathStat, error) {
	e, err := a.names.Resolve(ctx, path)
	if err != nil {
		return PathStat{}, err
	}
	s := PathStat{PathInfo: a.describe(e), Replicas: []BlockInfo{}}
	keys := make([]shoal.Key, min(s.Blocks, maxStatBlocks))
	for i := range keys {
		keys[i] = shoal.Key{File: e.File, Index: uint32(i)}
	}
	if len(keys) == 0 {
		return s, nil
	}
	names := make(map[shoal.NodeID]string)
	for _, m := range a.mesh.Members() {
		names[m.ID] = m.Name
	}
	for i, answer := range a.where.Peek(ctx, keys) {
		b := BlockInfo{Index: uint32(i), Length: shoal.BlockLen(e.Info.Size, uint32(i)), Local: a.store.Has(keys[i]), Holders: []Holder{}}
		if b.Local { // a home does not send a node to itself
			b.Holders = append(b.Holders, Holder{a.self.ID, a.self.Name})
		}
		for _, id := range answer.Nodes {
			switch h := (Holder{id, names[id]}); {
			case answer.Kind == replicas.Held && id != a.self.ID:
				b.Holders = append(b.Holders, h)
			case answer.Kind == replicas.Filling:
				b.Filler = &h
			}
		}
		s.Replicas = append(s.Replicas, b)
	}
	return s, nil
}

// List describes up to limit entries of a directory that sort after the name after, or
// the one file at path.
func (a *Agent) List(ctx context.Context, path, after string, limit int) ([]PathInfo, error) {
	e, err := a.names.Resolve(ctx, path)
	if err != nil {
		return nil, err
	}
	if !e.Info.IsDir() {
		return []PathInfo{a.describe(e)}, nil
	}
	out := []PathInfo{}
	for child, err := range a.names.ReadDir(ctx, e.ID, after) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		out = append(out, a.describe(child))
		if len(out) == limit {
			break
		}
	}
	return out, nil
}
