package meshtest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/node"
)

// startAll runs all agents of the lab, with names that stay fresh for the whole test, and has
// each list the objects, so that they can be read without the UFS.
func (l *lab) startAll(t *testing.T, dir string, objects int) {
	t.Helper()
	for i, n := range l.nodes {
		n.setTTL("1h")
		n.start(t, i+1)
	}
	for _, n := range l.nodes {
		n.sees(t, len(l.nodes))
		if entries, err := os.ReadDir(n.path(dir)); err != nil || len(entries) != objects {
			t.Fatalf("%s: listed %d entries, %v, want %d", n.name, len(entries), err, objects)
		}
	}
}

// TestFreedTogether has two nodes that hold the same blocks free all of them at the same
// instant: no block disappears from the mesh.
func TestFreedTogether(t *testing.T) {
	const blocks = 1000
	l := newLab(t, 3)
	sizes := make([]int, blocks)
	for i := range sizes {
		sizes[i] = 10_000
	}
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%04d", i) }, sizes...)
	l.startAll(t, "small", blocks)
	both := l.nodes[:2]
	for _, p := range readTogether(both, objects, 10) {
		p.mustBe(t, blocks)
	}
	for _, n := range both {
		l.until(t, n.name+" knows that its replicas are surplus", func() bool {
			s, err := n.tryStatus()
			return err == nil && s.Cache.Classes["surplus"].Blocks == blocks
		})
	}
	freed := make([]node.FreeStatus, len(both))
	var wg sync.WaitGroup
	for i, n := range both {
		wg.Go(func() {
			if err := n.call(http.MethodPost, "/v1/free", url.Values{"path": {"/data"}}, &freed[i]); err != nil {
				t.Errorf("free on %s: %v", n.name, err)
			}
		})
	}
	wg.Wait()
	t.Logf("freed: %+v", freed)
	held := 0
	for _, n := range both {
		l.until(t, n.name+" has had all answers", func() bool {
			s, err := n.tryStatus()
			return err == nil && s.Directory.Resigned == 0 && s.Cache.AskedBytes == 0
		})
		held += n.status(t).Cache.Blocks
	}
	t.Logf("%d replicas of %d blocks are left", held, blocks)
	if held < blocks || held > blocks+blocks/100 {
		t.Errorf("%d replicas are left, want one of each of %d blocks", held, blocks)
	}
	l.s3.Stop()
	l.nodes[2].readAll(objects, 20, func() {}).mustBe(t, blocks)
}

// TestHomeKilledUnderLoad kills a node that is the home of a third of the blocks while the
// others read: no read fails, and next to nothing comes from the UFS again.
func TestHomeKilledUnderLoad(t *testing.T) {
	const files, before, after = 1000, 10 * time.Second, time.Minute
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("train/%04d.jpg", i) }, small(files)...)
	whole := occupied(t, 0.5, objects)
	for i, share := range []float64{0.55, 0.55, 1.2} {
		l.nodes[i].setCache("cache", int64(share*float64(whole)), map[string]any{"policy": "uniform"})
	}
	l.startAll(t, "train", files)
	// The readers have half of the data each; what the third one has they have too.
	for i, n := range l.nodes[:2] {
		n.readAll(objects[i*files/2:(i+1)*files/2], 1, func() {}).mustBe(t, files/2)
	}
	dead := l.nodes[2]
	dead.readAll(objects, 2, func() {}).mustBe(t, files)

	begun, stop := time.Now(), make(chan struct{})
	readers := make([]reader, 2)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() { readers[i].run(t, l.nodes[i], objects, stop) })
	}
	<-time.After(time.Until(begun.Add(before)))
	alone := l.heldAlone(t, dead, objects)
	calm := make([]time.Duration, len(readers))
	for i := range readers {
		calm[i] = readers[i].reset()
	}
	sent, peers := l.counts(t), l.peerBytes(t)
	dead.kill(t)
	dead.unmount()
	<-time.After(after)
	close(stop)
	wg.Wait()
	bytes := l.counts(t).since(sent).Bytes
	peers = l.peerBytes(t) - peers
	var read int64
	for i := range readers {
		r := &readers[i]
		read += r.bytes
		t.Logf("%s: the longest read took %v before, %v in the minute after; %d MB read in that", l.nodes[i].name, calm[i], r.longest, r.bytes/1e6)
	}
	t.Logf("%d of %d files were held by the dead node alone; %d MB came from peers; S3 sent %.2f MB, %.2f%% of what was read", alone, files,
		peers/1e6, float64(bytes)/1e6, 100*float64(bytes)/float64(read))
	if peers == 0 {
		t.Error("nothing was read from a peer: the homes had nothing to do")
	}
	if limit := read/50 + int64(alone)*100_000; bytes > limit {
		t.Errorf("S3 sent %d bytes in the minute after, want at most %d", bytes, limit)
	}
	if read < 2*total(objects) {
		t.Errorf("the readers read %d bytes in a minute, want at least the dataset each", read)
	}
}

// peerBytes returns what the first two nodes have had from peers.
func (l *lab) peerBytes(t *testing.T) (sum int64) {
	t.Helper()
	for _, n := range l.nodes[:2] {
		sum += n.status(t).Fetches.PeerBytes
	}
	return sum
}

// A reader reads objects again and again.
type reader struct {
	mu      sync.Mutex    // guards the fields below
	longest time.Duration // that a file took
	bytes   int64
}

func (r *reader) run(t *testing.T, n *labNode, objects []object, stop <-chan struct{}) {
	for seed := uint64(100); ; seed++ {
		dropCaches(t)
		// A few at a time, so that the figures are of the time they are told for.
		for part := range len(objects) / 50 {
			select {
			case <-stop:
				return
			default:
			}
			p := n.readAll(objects[50*part:50*part+50], seed, func() {})
			p.mustBe(t, 50)
			r.mu.Lock()
			r.longest = max(r.longest, p.longest)
			r.bytes += total(objects[:50])
			r.mu.Unlock()
		}
	}
}

// reset begins the figures anew and returns how long a read took at most until now.
func (r *reader) reset() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	longest := r.longest
	r.longest, r.bytes = 0, 0
	return longest
}

// heldAlone returns how many of the objects, of a block each, only node n holds.
func (l *lab) heldAlone(t *testing.T, n *labNode, objects []object) (alone int) {
	t.Helper()
	for _, o := range objects {
		var s node.PathStat
		if err := l.nodes[0].get("/v1/stat", url.Values{"path": {"/data/" + o.key}}, &s); err != nil {
			t.Fatal(err)
		}
		if h := s.Replicas[0].Holders; len(h) == 0 || len(h) == 1 && h[0].Name == n.name {
			alone++
		}
	}
	return alone
}

// TestDrain takes a node out that has the last replicas of a third of the data. The others have
// room: nothing is lost.
func TestDrain(t *testing.T) {
	const files = 900
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("train/%04d.jpg", i) }, small(files)...)
	l.startAll(t, "train", files)
	for i, n := range l.nodes {
		n.readAll(objects[i*files/3:(i+1)*files/3], 1, func() {}).mustBe(t, files/3)
	}
	s := l.drain(t, l.nodes[0])
	if s.Kept != 0 || s.Left != 0 || s.Blocks != s.Safe {
		t.Errorf("drained: %+v, want all safe elsewhere", s)
	}
	l.nodes[0].kill(t)
	l.nodes[0].unmount()
	l.s3.Stop()
	for _, p := range readTogether(l.nodes[1:], objects, 10) {
		p.mustBe(t, files)
	}
}

// TestDrainWithoutRoom takes a node out whose blocks have half the room they need elsewhere: the
// others are reported as left, and nothing else is given up for those.
func TestDrainWithoutRoom(t *testing.T) {
	const mine, others = 400, 100
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("train/%04d.jpg", i) }, small(mine+2*others)...)
	const block = (100_000 + 4095) / 4096 * 4096
	const size = (others + mine/4) * block * 100 / 97 // some is kept free ahead of need
	for _, n := range l.nodes[1:] {
		n.setCache("cache", size, map[string]any{"policy": "uniform"})
	}
	l.startAll(t, "train", len(objects))
	l.nodes[0].readAll(objects[:mine], 1, func() {}).mustBe(t, mine)
	for i, n := range l.nodes[1:] {
		n.readAll(objects[mine+i*others:mine+(i+1)*others], 1, func() {}).mustBe(t, others)
	}
	s := l.drain(t, l.nodes[0])
	if s.Blocks != mine || s.Safe+s.Left != mine || s.Left < mine/4 || s.Left > 3*mine/4 {
		t.Errorf("drained: %+v, want about half of %d left, the others safe", s, mine)
	}
	l.nodes[0].kill(t)
	l.nodes[0].unmount()
	l.s3.Stop()
	l.nodes[1].readAll(objects[mine:], 10, func() {}).mustBe(t, 2*others)
	readable := 0
	buf := make([]byte, mib)
	for _, o := range objects[:mine] {
		if err := l.nodes[1].verify(o, buf); err == nil {
			readable++
		} else if errors.Is(err, errWrong) {
			t.Error(err)
		}
	}
	if want := mine - s.Left; readable < want {
		t.Errorf("%d files of the drained node are readable, want %d", readable, want)
	}
}

// drain drains a node and waits for the end of it.
func (l *lab) drain(t *testing.T, n *labNode) (s node.DrainStatus) {
	t.Helper()
	begun := time.Now()
	if err := n.call(http.MethodPost, "/v1/drain", nil, &s); err != nil {
		t.Fatal(err)
	}
	l.until(t, n.name+" is drained", func() bool {
		if err := n.get("/v1/drain", nil, &s); err != nil {
			t.Fatal(err)
		}
		return s.State == "done"
	})
	t.Logf("drained %s in %v: %+v", n.name, time.Since(begun).Round(time.Second), s)
	return s
}
