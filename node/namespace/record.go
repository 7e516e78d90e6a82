package namespace

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/shoal-mesh/shoal"
)

// The first byte of a key says what it is the key of.
const (
	nameSpace    = 'e' // directory's id, name -> nameRecord
	nodeSpace    = 'i' // id -> nodeRecord
	listSpace    = 'd' // directory's id -> listRecord
	missingSpace = 'v' // directory's id, name -> when the page that lacks it was asked for
	changeSpace  = 'c' // directory's id, id, name -> nothing: a change to tell
	metaSpace    = 'm'
)

// recordFormat is the first byte of every record. One with another is not read, as if it
// were not there.
const recordFormat = 2

var errRecord = errors.New("malformed record")

// A nameRecord is what is known of one name of a directory. Times are in nanoseconds
// since 1970.
type nameRecord struct {
	id      uint64
	tag     uint64 // of the mount that said so
	fetched int64  // when the UFS was asked
	expired int64  // when it was found not to be true any more; 0: not
	info    shoal.FileInfo
}

// asOf is the time of the latest news of the name: an older answer does not count.
func (r nameRecord) asOf() int64 { return max(r.fetched, r.expired) }

// A nodeRecord is what an id stands for, for good. A directory's is kept up to date.
type nodeRecord struct {
	parent  uint64
	tag     uint64 // of the mount it was made for, 0 for a directory above all mounts
	path    string
	fetched int64 // 0: the mount table made it
	info    shoal.FileInfo
}

// A listRecord says that a directory was listed completely.
type listRecord struct {
	tag     uint64
	started int64 // what is listed is at least as recent as this
	done    int64 // the TTL counts from here, or a long listing would never be fresh
	entries int64 // the UFS's names in it, also those that cannot be names here
}

func nameKey(dir uint64, name string) []byte { return appendKey(nameSpace, dir, name) }

func nodeKey(id uint64) []byte { return appendKey(nodeSpace, id, "") }

func listKey(dir uint64) []byte { return appendKey(listSpace, dir, "") }

func missingKey(dir uint64, name string) []byte { return appendKey(missingSpace, dir, name) }

const keyPrefix = 9 // bytes of a key before the name

func appendKey(space byte, id uint64, name string) []byte {
	b := append(make([]byte, 0, keyPrefix+len(name)), space)
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, name...)
}

// afterPrefix returns the key that sorts after all keys of (space, id).
func afterPrefix(space byte, id uint64) []byte {
	if id == math.MaxUint64 {
		return []byte{space + 1}
	}
	return appendKey(space, id+1, "")
}

func (r nameRecord) encode() []byte {
	b := append(make([]byte, 0, 80+len(r.info.Version)), recordFormat)
	b = binary.BigEndian.AppendUint64(b, r.id)
	b = binary.BigEndian.AppendUint64(b, r.tag)
	b = binary.BigEndian.AppendUint64(b, uint64(r.fetched))
	b = binary.AppendVarint(b, r.expired)
	return appendInfo(b, r.info)
}

func decodeName(b []byte) (nameRecord, error) {
	d := decoder{b: b}
	d.format()
	r := nameRecord{id: d.uint64(), tag: d.uint64(), fetched: int64(d.uint64()), expired: d.varint()}
	r.info = d.info()
	if r.id < shoal.FirstID || r.id > shoal.LastID {
		d.bad = true
	}
	return r, d.end()
}

func (r nodeRecord) encode() []byte {
	b := append(make([]byte, 0, 80+len(r.path)+len(r.info.Version)), recordFormat)
	b = binary.BigEndian.AppendUint64(b, r.parent)
	b = binary.BigEndian.AppendUint64(b, r.tag)
	b = binary.BigEndian.AppendUint64(b, uint64(r.fetched))
	b = appendString(b, r.path)
	return appendInfo(b, r.info)
}

func decodeNode(b []byte) (nodeRecord, error) {
	d := decoder{b: b}
	d.format()
	r := nodeRecord{parent: d.uint64(), tag: d.uint64(), fetched: int64(d.uint64()), path: d.string()}
	r.info = d.info()
	if checkPath(r.path) != nil {
		d.bad = true
	}
	return r, d.end()
}

func (r listRecord) encode() []byte {
	b := append(make([]byte, 0, 33), recordFormat)
	b = binary.BigEndian.AppendUint64(b, r.tag)
	b = binary.BigEndian.AppendUint64(b, uint64(r.started))
	b = binary.BigEndian.AppendUint64(b, uint64(r.done))
	return binary.BigEndian.AppendUint64(b, uint64(r.entries))
}

func decodeList(b []byte) (listRecord, error) {
	d := decoder{b: b}
	d.format()
	r := listRecord{tag: d.uint64(), started: int64(d.uint64()), done: int64(d.uint64()), entries: int64(d.uint64())}
	if r.entries < 0 {
		d.bad = true
	}
	return r, d.end()
}

// appendInfo appends all of info but its Name.
func appendInfo(b []byte, info shoal.FileInfo) []byte {
	b = binary.AppendUvarint(b, uint64(info.Size))
	b = binary.AppendUvarint(b, uint64(info.Mode))
	b = binary.AppendVarint(b, info.ModTime.Unix())
	b = binary.AppendUvarint(b, uint64(info.ModTime.Nanosecond()))
	return appendString(b, string(info.Version))
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// A decoder takes a record apart. After the first thing that is not there all else is
// zero, and end tells.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	head := d.b[:n]
	d.b = d.b[n:]
	return head
}

func (d *decoder) format() {
	if b := d.take(1); b != nil && b[0] != recordFormat {
		d.bad = true
	}
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.take(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.take(n)
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) info() shoal.FileInfo {
	size, mode, sec, nsec := d.uvarint(), d.uvarint(), d.varint(), d.uvarint()
	if size > math.MaxInt64 || mode > math.MaxUint32 || nsec >= uint64(time.Second) {
		d.bad = true
		return shoal.FileInfo{}
	}
	return shoal.FileInfo{
		Size:    int64(size),
		Mode:    fs.FileMode(mode),
		ModTime: time.Unix(sec, int64(nsec)).UTC(),
		Version: shoal.Version(d.string()),
	}
}

// end returns an error unless the whole record was taken and nothing was missing.
func (d *decoder) end() error {
	if d.bad || len(d.b) != 0 {
		return errRecord
	}
	return nil
}
