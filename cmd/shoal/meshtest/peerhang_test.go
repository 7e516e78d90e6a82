package meshtest

import (
	"fmt"
	"net/url"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-mesh/shoal"
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
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("peers/%d.bin", i) }, size, size, size, size)
	l.startAll(t, "peers", len(objects))

	holder, others := l.nodes[0], l.nodes[1:]
	holder.readAll(objects[:1], 1, func() {}).mustBe(t, 1)
	l.until(t, "both homes of each block know who holds it", func() bool {
		known := 0
		for _, n := range l.nodes {
			known += n.status(t).Directory.Entries
		}
		return known == 2*size/shoal.BlockSize
	})
	for _, n := range others {
		l.until(t, n.name+" finds who holds the blocks", func() bool { return n.finds(t, objects[0].key) })
	}
	left := countLeft(t, others...)
	holder.freeze(t)
	for _, n := range others {
		r := n.startReader(t)
		if got := r.does(t, deed{Do: "direct", Path: objects[0].key, Len: size}); got.Sum != objects[0].sum {
			t.Errorf("%s, while %s hangs: %v, want the bytes of the file", n.name, holder.name, got)
		}
	}
	left("the holder")
	holder.thaw(t)
	dropCaches(t)
	holder.readAll(objects[:1], 2, func() {}).mustBe(t, 1)
	for _, n := range l.nodes {
		n.sees(t, len(l.nodes))
	}

	relay := l.nodes[1]
	relayed, waiting := l.relayed(t, relay, objects[1:])
	left = countLeft(t, l.nodes[0], l.nodes[2])
	relay.freeze(t)
	l.misbehave(t)
	for _, i := range []int{0, 2} {
		if got := waiting[i].wait(t); got.Sum != relayed.sum {
			t.Errorf("%s, while %s hangs: %v, want the bytes of the file", l.nodes[i].name, relay.name, got)
		}
	}
	left("the relay")
	relay.thaw(t)
	if got := waiting[1].wait(t); got.Sum != relayed.sum {
		t.Errorf("%s, after it hung: %v, want the bytes of the file", relay.name, got)
	}
	for _, p := range readTogether(l.nodes, objects, 3) {
		p.mustBe(t, len(objects))
	}
}

// relayed has all nodes read an object of which every answer of the UFS stops half-way, so that all
// wait for the same blocks, one of them for what the relay passes on to it. Which node passes a block
// on is up to their homes; when the relay is none of them the next object is tried.
func (l *lab) relayed(t *testing.T, relay *labNode, objects []object) (object, []*readerChild) {
	t.Helper()
	for _, o := range objects {
		l.misbehave(t, fault{Keys: o.key, After: 2 * mib})
		waiting := make([]*readerChild, len(l.nodes))
		sent := relay.status(t).Peers.BytesOut
		for i, n := range l.nodes {
			waiting[i] = n.startReader(t)
			before := n.status(t).Fetches
			waiting[i].begin(t, deed{Do: "direct", Path: o.key, Len: int64(o.size)})
			l.until(t, n.name+" has received some of a block", func() bool {
				s, err := n.tryStatus()
				return err == nil && s.Fetches.PeerBytes+s.Fetches.UFSBytes >= before.PeerBytes+before.UFSBytes+mib
			})
		}
		if relay.status(t).Peers.BytesOut-sent >= mib {
			return o, waiting
		}
		t.Logf("%s passes none of %s on", relay.name, o.key)
		l.misbehave(t)
		for i, r := range waiting {
			if got := r.wait(t); got.Sum != o.sum {
				t.Errorf("%s, after the UFS stopped: %v, want the bytes of the file", l.nodes[i].name, got)
			}
		}
	}
	t.Fatalf("%s passes no file on", relay.name)
	return object{}, nil
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

// countLeft returns what fails the test if none of the nodes has left a peer for another source
// since. It is called before that peer hangs: a status waits a second for those that do.
func countLeft(t *testing.T, nodes ...*labNode) func(peer string) {
	t.Helper()
	before := make([]node.FetchStats, len(nodes))
	for i, n := range nodes {
		before[i] = n.status(t).Fetches
	}
	return func(peer string) {
		t.Helper()
		for i, n := range nodes {
			now := n.status(t).Fetches
			if now.PeerErrors > before[i].PeerErrors {
				return
			}
			t.Logf("%s: %+v, was %+v", n.name, now, before[i])
		}
		t.Errorf("nobody has left %s for another source", peer)
	}
}
