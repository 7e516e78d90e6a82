package node

import (
	"context"
	"errors"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
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
	More    int      `json:"more,omitempty"` // holders beyond those named
	Filler  *Holder  `json:"filler,omitempty"`
	Unknown bool     `json:"unknown,omitempty"` // no home could tell: there may be other holders
}

// A Holder names a node to programs and to people, and says what its replica is, as the
// block's home knows it. Of a filler it says only the name.
type Holder struct {
	ID     shoal.NodeID `json:"id"`
	Name   string       `json:"name"`             // empty when the node has just left
	Keeper bool         `json:"keeper,omitempty"` // does not drop its replica alone
	Class  string       `json:"class,omitempty"`  // shoal.Class
}

// A PathStat is a PathInfo with the replicas of each block in the mesh.
type PathStat struct {
	PathInfo
	LastTier string      `json:"last_tier,omitempty"` // that served the last read of a file here: a shoal.Tier
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
	if !s.Dir {
		s.LastTier = a.files.last.of(e.File).String()
		s.Replicas = a.locate(ctx, e, spread(min(s.Blocks, maxStatBlocks), maxStatBlocks))
	}
	return s, nil
}

// locate asks the homes of some of a file's blocks who holds them.
func (a *Agent) locate(ctx context.Context, e shoal.Entry, indexes []uint32) []BlockInfo {
	out := make([]BlockInfo, len(indexes))
	if len(indexes) == 0 {
		return out
	}
	keys := make([]shoal.Key, len(indexes))
	for i, index := range indexes {
		keys[i] = shoal.Key{File: e.File, Index: index}
	}
	names := make(map[shoal.NodeID]string)
	for _, m := range a.mesh.Members() {
		names[m.ID] = m.Name
	}
	for i, answer := range a.where.Peek(ctx, keys) {
		b := BlockInfo{Index: indexes[i], Length: shoal.BlockLen(e.Info.Size, indexes[i]), Holders: []Holder{}}
		var mine blockstore.Replica
		mine, b.Local = a.store.Replica(keys[i])
		b.explain(answer, a.self.ID, mine.Standing, names)
		out[i] = b
	}
	return out
}

// explain fills in who holds the block and who fills it. What is here the node self knows best:
// mine is what its replica has been told, if b.Local, and stands in for a home that cannot tell.
func (b *BlockInfo) explain(answer replicas.Answer, self shoal.NodeID, mine shoal.Standing, names map[shoal.NodeID]string) {
	add := func(h replicas.Holder) {
		b.Holders = append(b.Holders, Holder{ID: h.Node, Name: names[h.Node], Keeper: h.Keeper, Class: h.Class.String()})
	}
	b.More, b.Unknown = answer.More, answer.Kind == replicas.Unknown
	listed := false
	for _, h := range answer.Holders {
		if h.Node == self {
			listed = true
		}
		if h.Node != self || b.Local {
			add(h)
		}
	}
	if b.Local && !listed {
		add(replicas.Holder{Node: self, Keeper: mine.Keeper, Class: mine.Class})
		b.More = max(0, b.More-1) // it is one of those, if there are any
	}
	if answer.Kind == replicas.Filling {
		b.Filler = &Holder{ID: answer.Nodes[0], Name: names[answer.Nodes[0]]}
	}
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
