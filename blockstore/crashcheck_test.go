package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// A crashCheck reads every visible block of a store that was opened after a crash, says which
// it has, and compares what the store says it takes with what is there.
type crashCheck struct {
	store  *Store
	say    func(word string, i uint32)
	large  bool // there are blocks of files of several
	memory bool // the containers are in no file system
	power  bool // blocks may be missing when they are read, since the power was

	blocks, bytes, sparse int64 // of what there is
	files                 map[shoal.FileID]bool
}

// run does it all.
func (c *crashCheck) run() error {
	c.files = make(map[shoal.FileID]bool)
	for key := range c.store.Keys() {
		if err := c.read(key); err != nil {
			return err
		}
	}
	d := c.store.disks[0]
	d.scan(nil) // the one that Open has begun may not be through
	if err := c.settle(d, "blocks", c.bytes, func() int64 { return d.places.taken - d.unusable }); err != nil {
		return err
	}
	if err := c.usage(); err != nil {
		return err
	}
	if err := d.giveAllRoom(); err != nil { // of holes, which count with their containers
		return err
	}
	slabs, err := d.slabFiles()
	if err != nil {
		return err
	}
	containers := int64(len(slabs))*d.slabBytes + c.sparse
	if err := c.settle(d, "containers", containers, d.places.bytes); err != nil {
		return err
	}
	st := c.store.Stats()
	if bytes := st.Bytes - st.Disks[0].UnusableBytes; bytes != c.bytes || int64(st.Blocks) != c.blocks || st.Disks[0].ContainerBytes != containers {
		return fmt.Errorf("Stats() = %d blocks, %d bytes, %d of containers, want %d, %d, %d",
			st.Blocks, bytes, st.Disks[0].ContainerBytes, c.blocks, c.bytes, containers)
	}
	return c.usage()
}

// read reads a block and adds it to what there is.
func (c *crashCheck) read(key shoal.Key) error {
	b := crashBlockOf(crashNumber(key), c.large)
	p := make([]byte, b.length)
	_, err := c.store.ReadAt(key, p, 0)
	switch {
	case c.power && errors.Is(err, fs.ErrNotExist):
		c.say("missed", b.number)
		return nil
	case c.power && errors.Is(err, ErrCorrupt):
		c.say("dropped", b.number)
		return nil
	case err != nil:
		return err
	case b.key != key || string(p) != string(b.data()):
		return fmt.Errorf("block %d: wrong bytes", b.number)
	}
	c.say("have", b.number)
	size, packed := b.occupied(c.store.disks[0].slabBytes / slotsPerSlab / pageSize)
	c.blocks++
	c.bytes += size
	if !packed {
		c.sparse += size
		c.files[key.File] = true
	}
	return nil
}

// settle waits until the account says so many bytes, but not for ever: the room of what is not
// there is given back in the background.
func (c *crashCheck) settle(d *disk, what string, want int64, account func() int64) error {
	got := int64(0)
	settled := waitDisk(d, func(*disk) bool {
		got = account()
		return got == want
	})
	if !settled {
		return fmt.Errorf("%s take %d bytes by the store's account, want %d", what, got, want)
	}
	return nil
}

// usage compares the account with what the file system gives the containers, if it is a real one.
func (c *crashCheck) usage() error {
	if c.memory {
		return nil
	}
	root, used := c.store.disks[0].path, int64(0)
	for _, dir := range []string{slabsDir, filesDir} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			used += st.Blocks * 512
			return nil
		})
		if err != nil {
			return err
		}
	}
	// The last page of a sums file, and what the file system notes of where a file lies.
	slack := int64(2*len(c.files)+16) * pageSize
	if want := c.store.Stats().Disks[0].ContainerBytes; used > want+slack {
		return fmt.Errorf("containers take %d bytes of the file system, want at most the %d of Stats() and %d", used, want, slack)
	}
	return nil
}
