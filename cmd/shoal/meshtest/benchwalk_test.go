package meshtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// walks is how often one sample walks the tree, for the start of find not to show.
const walks = 10

// walk has find look at the time of every small file, names and attributes warm.
func (t *match) walk(b *testing.B) {
	t.copyPlain(b, t.small...)
	old := filepath.Join(t.node.home, "old")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if then := time.Unix(1, 0); os.Chtimes(old, then, then) != nil {
		b.Fatal("the time of a file cannot be set")
	}
	below := func(dir string) string { return filepath.Join(dir, filepath.Dir(t.small[0].key)) }
	for _, s := range t.trees() {
		release := guard(s.daemon)
		t.find(b, below(s.dir), old)
		release()
	}
	t.hold(b, t.trees(), contest{
		name: fmt.Sprintf("stat walk of %d names (`find -newer`), warm", len(t.small)), unit: "names/s",
		work:   float64(walks * len(t.small)),
		sample: func(dir string) sample { return t.find(b, below(dir), old) },
	})
}

// find walks dir for files newer than old, which they all are.
func (t *match) find(b *testing.B, dir, old string) sample {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), sampleLimit)
	defer cancel()
	var args []string
	for range walks {
		args = append(args, dir)
	}
	cmd := exec.CommandContext(ctx, "find", append(args, "-type", "f", "-newer", old)...)
	begun := time.Now()
	out, err := cmd.Output()
	took := time.Since(begun)
	if found := bytes.Count(out, []byte("\n")); err != nil || found != walks*len(t.small) {
		b.Fatalf("find %s: %d names, %v, want %d", dir, found, err, walks*len(t.small))
	}
	return sample{took: took, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}
