package node

import (
	"context"
	"strconv"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
)

const (
	// maxHolderBlocks bounds the blocks whose homes are asked for one attribute.
	maxHolderBlocks = 256
	// homesWithin is how long they may take.
	homesWithin = 2 * time.Second
)

// xattr returns the value of the extended attribute user.shoal.<name> of an entry; ENODATA when it
// has none of that name. docs/xattrs.md says what each means.
func (a *Agent) xattr(ctx context.Context, e shoal.Entry, name string) (string, error) {
	switch {
	case name == "age" && !e.Fetched.IsZero():
		return strconv.FormatInt(max(0, int64(time.Since(e.Fetched)/time.Second)), 10), nil
	case e.Info.IsDir():
		return "", syscall.ENODATA
	}
	switch name {
	case "version":
		return string(e.Info.Version), nil
	case "tier":
		return a.files.last.of(e.File).String(), nil
	case "cached":
		return strconv.Itoa(a.cachedPercent(e)), nil
	case "holders":
		ctx, cancel := context.WithTimeout(ctx, homesWithin)
		defer cancel()
		n, err := fewestHolders(a.locate(ctx, e, spread(shoal.Blocks(e.Info.Size), maxHolderBlocks)))
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return strconv.Itoa(n), err
	}
	return "", syscall.ENODATA
}

// cachedPercent returns how much of a file is in this node's store, in percent of its blocks, or of
// maxStatBlocks of them: 100 only if all are there, 0 only if none is.
func (a *Agent) cachedPercent(e shoal.Entry) int {
	looked := spread(shoal.Blocks(e.Info.Size), maxStatBlocks)
	held := 0
	for _, i := range looked {
		if a.store.Has(shoal.Key{File: e.File, Index: i}) {
			held++
		}
	}
	return percent(held, len(looked))
}

// percent returns what share part is of whole, 100 when there is nothing.
func percent(part, whole int) int {
	switch part {
	case whole:
		return 100
	case 0:
		return 0
	}
	return max(1, 100*part/whole)
}

// fewestHolders returns on how many nodes that of some blocks is which the fewest have; 0 of none. It
// fails with ETIMEDOUT when of one of them no home could tell.
func fewestHolders(blocks []BlockInfo) (fewest int, err error) {
	for i, b := range blocks {
		if b.Unknown {
			return 0, syscall.ETIMEDOUT
		}
		if n := len(b.Holders) + b.More; i == 0 || n < fewest {
			fewest = n
		}
	}
	return fewest, nil
}

// spread returns the indexes of a file's blocks, or limit of them, the first and the last among
// them and the others evenly between.
func spread(blocks, limit int) []uint32 {
	n := min(blocks, limit)
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(int64(i) * int64(blocks-1) / int64(max(1, n-1)))
	}
	return out
}
