package meshtest

import (
	"fmt"
	"net/url"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-mesh/shoal/node"
)

// freeze stops the node's agent as a hang would: it is there, and says nothing. thaw ends that.
func (n *labNode) freeze(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = n.agent.cmd.Process.Signal(syscall.SIGCONT) }) // or its mount hangs for ever
}

func (n *labNode) thaw(t *testing.T) { n.signal(t, syscall.SIGCONT) }

func (n *labNode) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := n.agent.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestPeerHangs stops an agent that holds blocks others want, and one that passes on blocks that are
// on their way: readers elsewhere get the right bytes all the same, and those of the agent itself
// when it goes on.
func TestPeerHangs(t *testing.T) {
	const size = 16 * mib
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("peers/%d.bin", i) }, size, size)
	l.startAll(t, "peers", len(objects))

	holder, others := l.nodes[0], l.nodes[1:]
	holder.readAll(objects[:1], 1, func() {}).mustBe(t, 1)
	for _, n := range others {
		l.until(t, n.name+" finds who holds the blocks", func() bool { return n.finds(t, objects[0].key) })
	}
	holder.freeze(t)
	left := countLeft(t, others...)
	for _, n := range others {
		r := n.startReader(t)
		if got := r.does(t, deed{Do: "direct", Path: objects[0].key, Len: size}); got.Sum != objects[0].sum {
			t.Errorf("%s, while %s hangs: %v, want the bytes of the file", n.name, holder.name, got)
		}
	}
	if left() == 0 {
		t.Error("nobody has left the holder for another source")
	}
	holder.thaw(t)
	dropCaches(t)
	holder.readAll(objects[:1], 2, func() {}).mustBe(t, 1)
	for _, n := range l.nodes {
		n.sees(t, len(l.nodes))
	}

	// Every answer of the UFS stops half-way, so that all three wait for the same blocks.
	l.misbehave(t, fault{Keys: objects[1].key, After: 2 * mib})
	waiting := make([]*readerChild, len(l.nodes))
	for i, n := range l.nodes {
		waiting[i] = n.startReader(t)
		had := n.status(t).Fetches.PeerBytes + n.status(t).Fetches.UFSBytes
		waiting[i].begin(t, deed{Do: "direct", Path: objects[1].key, Len: size})
		l.until(t, n.name+" has received half a block", func() bool {
			s, err := n.tryStatus()
			return err == nil && s.Fetches.PeerBytes+s.Fetches.UFSBytes > had
		})
	}
	relay := l.nodes[1]
	relay.freeze(t)
	left = countLeft(t, l.nodes[0], l.nodes[2])
	l.misbehave(t)
	for _, i := range []int{0, 2} {
		if got := waiting[i].wait(t); got.Sum != objects[1].sum {
			t.Errorf("%s, while %s hangs: %v, want the bytes of the file", l.nodes[i].name, relay.name, got)
		}
	}
	if left() == 0 {
		t.Error("nobody has left the relay for another source")
	}
	relay.thaw(t)
	if got := waiting[1].wait(t); got.Sum != objects[1].sum {
		t.Errorf("%s, after it hung: %v, want the bytes of the file", relay.name, got)
	}
	for _, p := range readTogether(l.nodes, objects, 3) {
		p.mustBe(t, len(objects))
	}
}

// finds reports whether the node is told of a holder of every block of a file.
func (n *labNode) finds(t *testing.T, key string) bool {
	t.Helper()
	var s node.PathStat
	if err := n.get("/v1/stat", url.Values{"path": {"/data/" + key}}, &s); err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(s.Replicas, func(b node.BlockInfo) bool { return len(b.Holders) == 0 })
}

// countLeft returns what tells how often the nodes have left a peer for another source since.
func countLeft(t *testing.T, nodes ...*labNode) func() int64 {
	t.Helper()
	count := func() (sum int64) {
		for _, n := range nodes {
			sum += n.status(t).Fetches.PeerErrors
		}
		return sum
	}
	before := count()
	return func() int64 { return count() - before }
}
