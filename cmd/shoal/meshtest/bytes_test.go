package meshtest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// sparseSize is beyond 2^32, and no multiple of anything.
const sparseSize = 5*gib + 12_345

// sparse makes a file of sparseSize bytes: zeros, but for some bytes at the places returned.
func sparse(t *testing.T, path string) map[int64][]byte {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(sparseSize); err != nil {
		t.Fatal(err)
	}
	parts := make(map[int64][]byte)
	for i, off := range []int64{0, 4*gib - 5000, 4*gib + 4*mib - 77, sparseSize - 10_001} {
		parts[off] = contents(uint64(100+i), 10_000)
		if _, err := f.WriteAt(parts[off], off); err != nil {
			t.Fatal(err)
		}
	}
	return parts
}

// TestBytes reads a file of more than 2^32 bytes, most of them holes, from a directory and from the
// S3 server, in every way there is: read, past the page cache, mapped, sendfile and splice.
func TestBytes(t *testing.T) {
	l := newLab(t, 1)
	n := l.nodes[0]
	nas := filepath.Join(l.dir, "nas")
	if err := os.Mkdir(nas, 0o700); err != nil {
		t.Fatal(err)
	}
	parts := sparse(t, filepath.Join(nas, "sparse"))
	sparse(t, filepath.Join(l.s3.Dir, bucket, "sparse"))
	n.config["namespace"] = append(n.config["namespace"].([]any), map[string]any{"path": "/nas", "ufs": "file://" + nas})
	n.start(t, 1)
	for _, mount := range []string{"data", "nas"} {
		path := filepath.Join(n.mount, mount, "sparse")
		for name, read := range map[string]func(t *testing.T, path string, off, n int64) []byte{
			"read": readPlain, "direct": readDirect, "private": readPrivate, "shared": readShared, "sendfile": readSendfile, "splice": readSplice,
		} {
			t.Run(mount+"/"+name, func(t *testing.T) {
				dropCaches(t)
				for off, part := range parts {
					// Zeros before and after what was written, but where the file begins or ends.
					from, to := max(0, off-3000), min(sparseSize, off+int64(len(part))+3000)
					want := make([]byte, to-from)
					copy(want[off-from:], part)
					if got := read(t, path, from, to-from); !bytes.Equal(got, want) {
						t.Errorf("[%d, %d): %d bytes that are not those of the file", from, to, len(got))
					}
				}
			})
		}
	}
	info, err := os.Stat(filepath.Join(n.mount, "nas", "sparse"))
	if err != nil || info.Size() != sparseSize {
		t.Errorf("Stat() = %v, %v, want %d bytes", info, err, int64(sparseSize))
	}
	var st unix.Statfs_t
	if err := unix.Statfs(n.mount, &st); err != nil {
		t.Fatal(err)
	}
	cache := n.status(t).Cache
	if size := int64(st.Blocks) * st.Bsize; st.Type != unix.FUSE_SUPER_MAGIC || size != cache.CapacityBytes || st.Bavail > st.Blocks || st.Namelen != 255 {
		t.Errorf("Statfs() = %+v, want the cache's %d bytes", st, cache.CapacityBytes)
	}
}

func openRead(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func readPlain(t *testing.T, path string, off, n int64) []byte {
	got, err := pread(openRead(t, path, 0), make([]byte, n), off)
	if err != nil {
		t.Error(err)
	}
	return got
}

func readDirect(t *testing.T, path string, off, n int64) []byte {
	got, err := pread(openRead(t, path, unix.O_DIRECT), make([]byte, n), off)
	if err != nil {
		t.Error(err)
	}
	return got
}

// readPrivate changes what it has mapped: that is its own, and nobody else's.
func readPrivate(t *testing.T, path string, off, n int64) []byte {
	got := readMapped(t, path, off, n, unix.MAP_PRIVATE, unix.PROT_READ|unix.PROT_WRITE)
	if again := readPlain(t, path, off, n); !bytes.Equal(again, got) {
		t.Error("what was written to a private mapping is in the file")
	}
	return got
}

func readShared(t *testing.T, path string, off, n int64) []byte {
	if _, err := unix.Mmap(openRead(t, path, 0), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("a file was mapped to be written to")
	}
	return readMapped(t, path, off, n, unix.MAP_SHARED, unix.PROT_READ)
}

func readMapped(t *testing.T, path string, off, n int64, flags, prot int) []byte {
	t.Helper()
	page := off &^ 4095
	all, err := unix.Mmap(openRead(t, path, 0), page, int(off-page+n), prot, flags)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(all) }()
	got := bytes.Clone(all[off-page:])
	if prot&unix.PROT_WRITE != 0 {
		all[off-page] ^= 1
	}
	return got
}

// readSendfile has the kernel send the bytes to a socket.
func readSendfile(t *testing.T, path string, off, n int64) []byte {
	in := openRead(t, path, 0)
	return through(t, n, true, func(out, left int) (int, error) { return unix.Sendfile(out, in, &off, left) })
}

// readSplice has the kernel move the bytes into a pipe.
func readSplice(t *testing.T, path string, off, n int64) []byte {
	in := openRead(t, path, 0)
	return through(t, n, false, func(out, left int) (int, error) {
		moved, err := unix.Splice(in, &off, out, nil, left, 0)
		return int(moved), err
	})
}

// through returns the n bytes that send has put, some at a time, into a socket or a pipe.
func through(t *testing.T, n int64, socket bool, send func(out, left int) (int, error)) (got []byte) {
	t.Helper()
	var ends [2]int
	err := unix.Pipe2(ends[:], unix.O_CLOEXEC)
	if socket {
		ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	in, out := ends[0], ends[1]
	defer func() { _, _ = unix.Close(in), unix.Close(out) }()
	for int64(len(got)) < n {
		moved, err := send(out, int(n)-len(got))
		if err != nil || moved == 0 {
			t.Errorf("after %d bytes: %d, %v", len(got), moved, err)
			return got
		}
		buf := make([]byte, moved)
		for at := 0; at < moved; {
			m, err := unix.Read(in, buf[at:])
			if err != nil {
				t.Fatal(err)
			}
			at += m
		}
		got = append(got, buf...)
	}
	return got
}
