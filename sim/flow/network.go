package flow

import (
	"errors"
	"fmt"
	"math"
)

// A Link is something of a capacity that flows share: one way of a network interface, the
// reading of a disk, the connection of a zone, the UFS. Links are numbered from 0.
type Link uint32

// An ID names a flow until it has ended; then another one may get its number. Numbers are
// small, so that they may index a table.
type ID uint32

// MaxLinks is how many links a flow's path may have.
const MaxLinks = 6

// Config holds the settings of a Network. A zero field means its default.
type Config struct {
	// Tolerance is by which share of its capacity a link may carry more or less than it should.
	// Default 0.01; 1e-9 to 0.2. The package's doc says what it costs and what it does.
	Tolerance float64
}

func (c Config) withDefaults() (Config, error) {
	if c.Tolerance == 0 {
		c.Tolerance = 0.01
	}
	if !(c.Tolerance >= 1e-9 && c.Tolerance <= 0.2) {
		return c, fmt.Errorf("tolerance: %v is not within 1e-9 and 0.2", c.Tolerance)
	}
	return c, nil
}

// A Network is the links and the flows on them. It is for one goroutine. Moments are nanoseconds
// of simulated time; they may not go back, and should not pass the one that Next returns.
type Network struct {
	low, high float64 // a link that carries less or more than these times its capacity shares anew
	now       int64

	links  []link
	shares []float64 // by Link: what a flow gets at most; +Inf of a link that limits none
	flows  []flow
	free   []ID // places in flows of flows that have ended
	ends   ends

	unbalanced []Link    // to share anew before time goes on; no link is in it twice
	changed    []ID      // whose rate is new since time went on
	demands    []float64 // scratch of fill
}

// A link is one link without its share.
type link struct {
	capacity float64 // bytes/s
	load     float64 // sum of its flows' rates; a flow without a rate counts as 0
	flows    []stop
	queued   bool // it is in unbalanced
	awaited  bool // a flow without a rate waits for its share
}

// A stop is a flow's place on one of its links: ID << stopBits | index in its path.
type stop uint32

const stopBits = 3

// A flow is bytes on their way. Its rate is at all times the least share of its links.
type flow struct {
	left    float64 // bytes to go at the moment since
	rate    float64 // bytes/s since then; +Inf until the first link has a share for it
	since   int64
	links   [MaxLinks]Link
	places  [MaxLinks]uint32 // in the lists of these links
	length  uint8            // of links
	changed bool             // it is in the list changed
}

// New returns a network of links with the given capacities in bytes per second, which may be 0
// but not infinite.
func New(capacities []float64, cfg Config) (*Network, error) {
	cfg, err := cfg.withDefaults()
	errs := []error{err}
	n := &Network{
		low:    1 - cfg.Tolerance,
		high:   1 + cfg.Tolerance,
		links:  make([]link, len(capacities)),
		shares: make([]float64, len(capacities)),
	}
	for i, c := range capacities {
		if !(c >= 0) || math.IsInf(c, 1) {
			errs = append(errs, fmt.Errorf("link %d: capacity %v", i, c))
		}
		n.links[i].capacity = c
		n.shares[i] = math.Inf(1)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("flow: network: %w", err)
	}
	return n, nil
}

// Start has bytes flow over the links, 1 to MaxLinks different ones in any order.
func (n *Network) Start(now, bytes int64, links ...Link) ID {
	n.advance(now)
	if len(links) == 0 || len(links) > MaxLinks {
		panic(fmt.Sprintf("flow: a path of %d links", len(links)))
	}
	id := n.newID()
	f := &n.flows[id]
	*f = flow{left: float64(bytes), rate: math.Inf(1), since: now, length: uint8(len(links))}
	copy(f.links[:], links)
	rate := math.Inf(1)
	for i, l := range links {
		k := &n.links[l]
		f.places[i] = uint32(len(k.flows))
		k.flows = append(k.flows, stop(id)<<stopBits|stop(i))
		rate = min(rate, n.shares[l])
	}
	n.change(id, rate, noLink)
	if math.IsInf(rate, 1) {
		n.await(f)
	}
	return id
}

// Next returns when the next flow ends, if nothing changes before; ok is false if none does.
func (n *Network) Next() (at int64, ok bool) {
	n.settle()
	if len(n.ends.heap) == 0 || n.ends.heap[0].at == never {
		return 0, false
	}
	return n.ends.heap[0].at, true
}

// Finish goes to the moment that Next returns, and removes the flow that ends then. Of several
// the one with the lowest number is first.
func (n *Network) Finish() ID {
	at, ok := n.Next()
	if !ok {
		panic("flow: no flow ends")
	}
	n.now = max(n.now, at)
	id := n.ends.heap[0].flow
	n.remove(id)
	return id
}

// Cancel removes a flow before it has ended, and returns how many bytes were still to go.
func (n *Network) Cancel(now int64, id ID) (left int64) {
	n.advance(now)
	n.settle()
	f := &n.flows[id]
	f.progress(now)
	left = int64(math.Ceil(f.left))
	n.remove(id)
	return left
}

// SetCapacity gives a link another capacity, in bytes per second, not negative. On a link of
// capacity 0 flows stand still.
func (n *Network) SetCapacity(now int64, l Link, capacity float64) {
	n.advance(now)
	n.links[l].capacity = capacity
	n.check(l)
}

// Rate returns what a flow gets now, in bytes per second.
func (n *Network) Rate(id ID) float64 {
	n.settle()
	return n.flows[id].rate
}

// advance goes on to now. What has changed until then counts from when it did.
func (n *Network) advance(now int64) {
	if now == n.now {
		return
	}
	if now < n.now {
		panic(fmt.Sprintf("flow: time goes back from %d to %d", n.now, now))
	}
	n.settle()
	n.now = now
}

// newID returns the number of a flow to be.
func (n *Network) newID() ID {
	if last := len(n.free) - 1; last >= 0 {
		id := n.free[last]
		n.free = n.free[:last]
		return id
	}
	n.flows = append(n.flows, flow{})
	return ID(len(n.flows) - 1)
}

// remove takes a flow that is settled off its links.
func (n *Network) remove(id ID) {
	f := &n.flows[id]
	for i, l := range f.links[:f.length] {
		k := &n.links[l]
		last := k.flows[len(k.flows)-1]
		k.flows[f.places[i]] = last
		n.flows[last>>stopBits].places[last&(1<<stopBits-1)] = f.places[i]
		k.flows = k.flows[:len(k.flows)-1]
		if len(k.flows) == 0 {
			k.load = 0
			n.shares[l] = math.Inf(1)
			continue
		}
		k.load -= f.rate
		n.check(l)
	}
	n.ends.remove(id)
	n.free = append(n.free, id)
}

// progress counts what f has delivered until now.
func (f *flow) progress(now int64) {
	f.left = max(0, f.left-f.rate*float64(now-f.since)/1e9)
	f.since = now
}

// end returns when f ends if its rate stays, as seen at the moment since.
func (f *flow) end() int64 {
	if f.left == 0 {
		return f.since
	}
	took := math.Ceil(f.left / f.rate * 1e9)
	if !(took < float64(never-f.since)) {
		return never
	}
	return f.since + int64(took)
}
