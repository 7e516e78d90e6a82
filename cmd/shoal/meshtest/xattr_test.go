package meshtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node"
)

// TestXAttrs reads a file of two blocks on one node and then on the other, and asks the mount of
// each what it says of the file.
func TestXAttrs(t *testing.T) {
	l := newLab(t, 2)
	o := l.upload(t, 1, func(int) string { return "models/a.bin" }, 5*mib)[0]
	for i, n := range l.nodes {
		n.start(t, i+1)
	}
	one, two := l.nodes[0], l.nodes[1]
	one.sees(t, 2)
	says := func(n *labNode, step string, want map[string]string) {
		t.Helper()
		for name, value := range want {
			// Stores and homes are told a little after the reader has its bytes.
			l.until(t, fmt.Sprintf("%s, on %s: %s is %s", step, n.name, name, value), func() bool {
				got, err := n.xattr(o.key, name)
				if err != nil {
					t.Fatalf("%s, on %s: %s: %v", step, n.name, name, err)
				}
				return got == value
			})
		}
	}
	read := func(n *labNode) {
		t.Helper()
		dropCaches(t)
		if err := n.verify(o, make([]byte, mib)); err != nil {
			t.Fatal(err)
		}
	}
	says(one, "before any read", map[string]string{"tier": "none", "cached": "0", "holders": "0"})
	read(one)
	says(one, "read on n1", map[string]string{"tier": "ufs", "cached": "100", "holders": "1"})
	says(two, "read on n1", map[string]string{"tier": "none", "cached": "0", "holders": "1"})
	read(two)
	says(two, "read on both", map[string]string{"tier": "peer", "cached": "100", "holders": "2"})
	says(one, "read on both", map[string]string{"tier": "ufs", "cached": "100", "holders": "2"})
	read(one)
	says(one, "read again", map[string]string{"tier": "local"})

	var s node.PathStat
	if err := two.get("/v1/stat", url.Values{"path": {"/data/" + o.key}}, &s); err != nil {
		t.Fatal(err)
	}
	if s.LastTier != "peer" {
		t.Errorf("stat on n2: last read from %q, want peer", s.LastTier)
	}
	says(two, "as stat does", map[string]string{"version": string(s.Version)})
	for _, key := range []string{o.key, "models"} {
		text, err := two.xattr(key, "age")
		if n, wrong := strconv.Atoi(text); err != nil || wrong != nil || n < 0 {
			t.Errorf("age of %s = %q, %v, want a number of seconds", key, text, err)
		}
	}
	if text, err := two.xattr("models", "holders"); !errors.Is(err, unix.ENODATA) {
		t.Errorf("holders of a directory = %q, %v, want %v", text, err, unix.ENODATA)
	}
}

// xattr returns the attribute user.shoal.<name> of a file.
func (n *labNode) xattr(key, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		m, err := unix.Getxattr(n.path(key), "user.shoal."+name, buf)
		if errors.Is(err, unix.EINTR) { // a signal of the Go runtime
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "getxattr " + name, Path: key, Err: err}
		}
		return string(buf[:m]), nil
	}
}
