package blockstore

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// A crashBlock is one block of the tests of crashes: its number says all there is to know of
// it, so that whoever finds it knows what it must be.
type crashBlock struct {
	number uint32
	key    shoal.Key
	file   File
	length int
}

const (
	crashPhase  = 500 // numbers in a row with blocks of about one size
	crashEvery  = 256 // numbers from one file of several blocks to the next
	crashMember = 3   // blocks of such a file: two full ones and a tail
)

// crashBlockOf returns block number i: small ones whose size changes by phase, so that slabs
// have to change their class, some too large for a slot, and now and then, if large is set,
// one of a file of several blocks.
func crashBlockOf(i uint32, large bool) crashBlock {
	b := crashBlock{number: i}
	first, member := i, uint32(0)
	if at := i % crashEvery; large && at < crashMember {
		first, member = i-at, at
		b.file.SizeBytes = 2*shoal.BlockSize + 30_000
	} else {
		sizes := [...]int64{3_000, 50_000, 14_000, 90_000, 7_000}
		b.file.SizeBytes = sizes[i/crashPhase%uint32(len(sizes))] + int64(i%997)
		if !large {
			b.file.SizeBytes /= 8
		}
	}
	b.file.Dataset = fmt.Sprint("set", i/20)
	b.key = shoal.Key{File: shoal.FileID{15: 0xcc}, Index: member}
	binary.BigEndian.PutUint32(b.key.File[:], first)
	b.length = shoal.BlockLen(b.file.SizeBytes, member)
	return b
}

// crashNumber is the inverse of crashBlockOf.
func crashNumber(key shoal.Key) uint32 { return binary.BigEndian.Uint32(key.File[:]) + key.Index }

// data returns the block's bytes. The race detector would take longer over them than all the
// rest of the test.
//
//go:norace
func (b crashBlock) data() []byte {
	p := make([]byte, b.length+8)
	v := uint64(b.number+1) * 0x9e3779b97f4a7c15
	for i := 0; i < b.length; i += 8 {
		v = (v ^ v>>29) * 0xbf58476d1ce4e5b9
		binary.LittleEndian.PutUint64(p[i:], v)
		v += 0x9e3779b97f4a7c15
	}
	return p[:b.length]
}

// occupied returns what the block takes, and whether it is packed, in a store whose slabs
// have slots of up to so many pages, all sizes of which are a class.
func (b crashBlock) occupied(slotPages int64) (bytes int64, packed bool) {
	if n := packedBytes(b.length); b.file.SizeBytes <= shoal.BlockSize && n <= slotPages*pageSize {
		return n, true
	}
	return sparseBytes(b.length), false
}

// crashTruth is what a crash may and may not have done to each block, told by what was said
// before it. Nothing in it depends on how fast who spoke was: what changes whether a block is
// there is said under the disk's lock, after the index has the entry and before it is deleted.
type crashTruth struct {
	words                                int
	shown                                map[uint32]int  // when the block was said to be there, since when it was not given up
	gone                                 map[uint32]bool // said to be out of the index
	putting                              map[uint32]bool // puts that were begun and have not ended
	syncing, synced                      int             // when the last Sync began, and the last that ended
	evicted, removed, moved, puts, syncs int
	fault                                bool // the file system is no more: what is said then is of no interest
}

func newCrashTruth() *crashTruth {
	return &crashTruth{shown: make(map[uint32]int), gone: make(map[uint32]bool), putting: make(map[uint32]bool)}
}

// hear takes one word of the load in.
func (c *crashTruth) hear(word string, i uint32) {
	if c.fault {
		return
	}
	c.words++
	switch word {
	case "begin":
		c.putting[i] = true
		delete(c.gone, i)
	case "end":
		delete(c.putting, i)
		c.puts++
	case "shown":
		if c.shown[i] == 0 {
			c.shown[i] = c.words
		}
	case "leaving":
		delete(c.shown, i)
	case "evicted":
		if !c.putting[i] {
			c.gone[i] = true // else the put, which waited for the eviction, may be through
		}
		c.evicted++
	case "removed":
		c.gone[i] = true
		c.removed++
	case "moved":
		c.moved++
	case "sync":
		c.syncing = c.words
	case "synced":
		c.synced = c.syncing
		c.syncs++
	case "fault":
		c.fault = true
	}
}

// restart forgets what a crash ends.
func (c *crashTruth) restart() {
	clear(c.putting)
	c.fault = false
}

// kept returns the blocks that must be there after the death of the process: in order.
func (c *crashTruth) kept() (numbers []uint32) {
	for i := range c.shown {
		numbers = append(numbers, i)
	}
	slices.Sort(numbers)
	return numbers
}

// durable returns the blocks that must be there after a power loss: those that were there
// when the last Sync that returned began, and have not been given up since.
func (c *crashTruth) durable() (numbers []uint32) {
	for i, at := range c.shown {
		if at < c.synced {
			numbers = append(numbers, i)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// forgetUnlessDurable has the blocks that a power loss may take be neither there nor gone.
func (c *crashTruth) forgetUnlessDurable() {
	for i, at := range c.shown {
		if at >= c.synced {
			delete(c.shown, i)
		}
	}
	clear(c.gone)
}

// hearAll hears lines, each a word and a number, and hands on those it does not know, until
// visit says that it has enough or there are no more.
func (c *crashTruth) hearAll(lines *bufio.Scanner, visit func(word string, i uint32) (enough bool)) error {
	for lines.Scan() {
		var word string
		var i uint32
		if _, err := fmt.Sscan(lines.Text(), &word, &i); err != nil {
			return fmt.Errorf("the child says %q: %w", lines.Text(), err)
		}
		c.hear(word, i)
		if visit(word, i) {
			return nil
		}
	}
	return lines.Err()
}
