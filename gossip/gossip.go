// Package gossip knows who is alive: it spreads what each node says of itself
// (shoal.Member) to every other node of the same cluster, and notices nodes that die.
//
// One secret admits a node. Packets are encrypted with a key derived from the secret
// and the cluster's name, and every stream begins with a small mutual proof of the
// same knowledge (admission.go), before a byte of it reaches memberlist. A node that
// nobody answers, or that is refused, runs alone and keeps trying quietly.
//
// A secret says "some member", not "which member": whoever holds it can lie about
// others. So membership is a hint of where to dial, and the peer connections prove
// identities. No block, count or any other bulk state travels here, only members.
//
// Byte slices passed in (the secret) are copied; lists handed out belong to the caller.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/shoal-mesh/shoal"
)

// ErrRefused reports that a seed is of another cluster, or has another secret.
var ErrRefused = errors.New("cluster secret or cluster name differs")

// repeatAfter is how many rounds of gossip pass before news of this node is repeated:
// by then the first message has left memberlist's queue.
const repeatAfter = 5

// A Gossip is this node's part in the membership of its cluster.
type Gossip struct {
	cfg    Config
	list   *memberlist.Memberlist
	wire   *transport
	roster *roster
	joiner *joiner
	wg     sync.WaitGroup

	cancel   context.CancelFunc // ends the goroutines of wg
	stopJoin context.CancelFunc // ends only the joiner's

	update sync.Mutex // makes announce serial; taken before memberlist's locks, never with mu

	mu     sync.Mutex // guards the fields below; never held while memberlist is called
	closed bool
	left   *leaving // nil until Leave
}

// A leaving is one Leave under way, which several callers may wait for.
type leaving struct {
	done chan struct{}
	err  error // valid once done is closed
}

// Stats is a snapshot of what gossip has seen since Start.
type Stats struct {
	Members         int    // live members, this node included
	Health          int    // 0 when this node keeps up; more, up to 7, when it answers late
	RejectedStreams uint64 // streams whose other end did not prove that it knows the secret
	RejectedPackets uint64 // packets that were not encrypted for this cluster
	BusyStreams     uint64 // streams closed unheard: too many handshakes were pending
	RefusedDials    uint64 // streams of ours that the other end, or we, refused: ErrRefused
	BadMetadata     uint64 // members left out because what they say cannot be decoded
}

// Start begins to listen and to join the cluster in the background: it does not wait
// for a seed. Errors say what is wrong with the configuration or the address. The caller
// must Close the Gossip; OnChange may be called before Start returns.
func Start(cfg Config) (*Gossip, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("gossip: config: %w", err)
	}
	keys, err := deriveKeys(cfg.Secret, cfg.Cluster)
	if err != nil {
		return nil, fmt.Errorf("gossip: derive keys: %w", err)
	}
	strangers := newOutsiders(cfg.Logger)
	logger := log.New(newLogFilter(cfg.Logger, strangers), "", 0)
	wire, addr, err := listen(cfg, keys.admit, logger, strangers)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	r := newRoster(cfg.Self, addr, cfg.Logger)
	list, err := memberlist.Create(cfg.memberlist(keys, addr, wire, r, logger))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gossip: start: %w", err), wire.Shutdown())
	}
	ctx, cancel := context.WithCancel(context.Background())
	joining, stopJoin := context.WithCancel(ctx)
	g := &Gossip{
		cfg: cfg, list: list, wire: wire, roster: r, joiner: newJoiner(cfg, addr, list, wire, r),
		cancel: cancel, stopJoin: stopJoin,
	}
	if cfg.OnChange != nil {
		g.wg.Go(func() { g.tell(ctx) })
	}
	g.wg.Go(func() { g.joiner.run(joining) })
	g.wg.Go(func() { g.repeat(ctx) })
	return g, nil
}

// Addr returns the address other nodes reach this one's gossip at.
func (g *Gossip) Addr() netip.AddrPort { return g.roster.addr }

// Members returns the live members, this node included, sorted by ID. A member that
// is only suspected to be dead is still live.
func (g *Gossip) Members() []shoal.Member { return g.roster.members() }

// SetState changes this node's state and spreads the news. It does not wait until
// others have heard.
func (g *Gossip) SetState(s shoal.State) error {
	g.mu.Lock()
	gone := g.closed || g.left != nil
	g.mu.Unlock()
	if gone {
		return fmt.Errorf("gossip: set state %v: %w", s, fs.ErrClosed)
	}
	if g.roster.setState(s) {
		g.announce()
	}
	return nil
}

// announce spreads what this node says of itself, under a new incarnation.
func (g *Gossip) announce() {
	g.update.Lock() // UpdateNode is not safe for concurrent calls
	defer g.update.Unlock()
	// It queues the news, then waits until it was sent or the time is over; the latter
	// is its only error. The news is on its way in either case.
	_ = g.list.UpdateNode(time.Nanosecond)
}

// Leave tells the others that this node goes on purpose, so that nobody needs to
// suspect it first. It returns when the news was sent, or with an error when ctx or
// Config.LeaveTimeout ends. After Leave only Close is of use.
func (g *Gossip) Leave(ctx context.Context) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return fmt.Errorf("gossip: leave: %w", fs.ErrClosed)
	}
	if g.left == nil {
		l := &leaving{done: make(chan struct{})}
		g.left = l
		g.wg.Go(func() {
			defer close(l.done)
			g.stopJoin()
			if err := g.list.Leave(g.cfg.LeaveTimeout); err != nil {
				l.err = fmt.Errorf("gossip: leave: %w", err)
			}
		})
	}
	l := g.left
	g.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("gossip: leave: %w", ctx.Err())
	}
}

// Close stops without telling anyone: without Leave, the others see a node that died.
// It waits for a Leave under way and for its goroutines, and may be called more than
// once. OnChange is not called after Close; OnChange must not call Close. A probe that
// memberlist has under way ends by itself, within eight probe intervals.
func (g *Gossip) Close() error {
	g.mu.Lock()
	g.closed = true
	l := g.left
	g.mu.Unlock()
	if l != nil {
		<-l.done
	}
	g.stopJoin()
	g.cancel()
	err := g.list.Shutdown()
	g.wg.Wait()
	return err
}

// JoinError returns why the latest attempt to reach a seed failed, nil while there is
// nothing to complain of. It wraps ErrRefused when a seed refused this node.
func (g *Gossip) JoinError() error { return g.joiner.lastError() }

// Stats returns what gossip has seen so far.
func (g *Gossip) Stats() Stats {
	s := g.wire.strangers.stats()
	s.Members = len(g.roster.members())
	s.Health = g.list.GetHealthScore()
	s.BadMetadata = g.roster.undecodable()
	return s
}

// repeat announces once more, a little later, what was announced when this node found
// its first member or changed its state. Once is not enough: memberlist's queue (v0.7.0)
// starts numbering anew when its only message is replaced by a newer one, and a later
// message of the same number and length then takes the place of that one, unsent. It
// also drops an update that races with the refutation of a suspicion.
func (g *Gossip) repeat(ctx context.Context) {
	for {
		select {
		case <-g.roster.again:
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(repeatAfter * g.cfg.GossipInterval)
		select {
		case <-timer.C:
			g.announce()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// tell calls OnChange whenever the member list differs from the one told last. It has
// a goroutine of its own because memberlist reports changes under its lock.
func (g *Gossip) tell(ctx context.Context) {
	var last []shoal.Member
	for ctx.Err() == nil {
		if now := g.roster.members(); !slices.Equal(now, last) {
			last = now
			g.cfg.OnChange(slices.Clone(now))
		}
		select {
		case <-g.roster.changed:
		case <-ctx.Done():
		}
	}
}
