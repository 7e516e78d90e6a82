package gossip

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"github.com/shoal-mesh/shoal"
)

// A roster is the list of live members, kept from memberlist's callbacks. It is a copy
// because the nodes memberlist hands out change under the reader.
//
// Lock order: memberlist calls back while it holds its node lock, so mu comes after it,
// and nothing of memberlist is called with mu held.
type roster struct {
	addr    netip.AddrPort // this node's gossip address
	log     *slog.Logger
	changed chan struct{} // capacity 1: the list may differ from the one last looked at
	rejoin  chan struct{} // capacity 1: the joiner has reason to try at once
	again   chan struct{} // capacity 1: there is news of this node, to be repeated

	mu       sync.Mutex   // guards the fields below
	me       shoal.Member // me.ID never changes and may be read without mu
	others   map[shoal.NodeID]other
	usurped  bool                  // see isUsurped
	usurper  netip.AddrPort        // where our ID was last known instead of here
	warned   netip.AddrPort        // the usurper that was logged
	badNodes map[shoal.NodeID]bool // logged once each; at most maxOutsiders
	bad      uint64
}

// An other is a live member that is not this node.
type other struct {
	member shoal.Member
	addr   netip.AddrPort // it gossips from here
}

var (
	_ memberlist.Delegate         = (*roster)(nil)
	_ memberlist.EventDelegate    = (*roster)(nil)
	_ memberlist.ConflictDelegate = (*roster)(nil)
	_ memberlist.MergeDelegate    = (*roster)(nil)
)

func newRoster(self shoal.Member, addr netip.AddrPort, log *slog.Logger) *roster {
	return &roster{
		addr: addr, log: log, me: self,
		changed: make(chan struct{}, 1), rejoin: make(chan struct{}, 1), again: make(chan struct{}, 1),
		others: make(map[shoal.NodeID]other), badNodes: make(map[shoal.NodeID]bool),
	}
}

// members returns the live members sorted by ID. This node is always among them.
func (r *roster) members() []shoal.Member {
	r.mu.Lock()
	me := r.me
	me.PeerAddr = withHost(me.PeerAddr, r.addr.Addr())
	list := make([]shoal.Member, 1, 1+len(r.others))
	list[0] = me
	for _, o := range r.others {
		list = append(list, o.member)
	}
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b shoal.Member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// addrs returns the gossip addresses of the other live members.
func (r *roster) addrs() map[netip.AddrPort]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := make(map[netip.AddrPort]bool, len(r.others))
	for _, o := range r.others {
		addrs[o.addr] = true
	}
	return addrs
}

// setState sets this node's state and reports whether it was another.
func (r *roster) setState(s shoal.State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.me.State == s {
		return false
	}
	r.me.State = s
	signal(r.changed)
	signal(r.again)
	return true
}

// isUsurped reports whether, since takeUsurped, some member knew our ID at another address:
// an earlier run of this node, or a second agent with the same identity. As long as the
// member takes that one for alive or suspects it, it ignores us; and once it is dead
// there, nobody but we can tell that we live here.
func (r *roster) isUsurped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usurped
}

// takeUsurped is isUsurped, and begins to watch anew.
func (r *roster) takeUsurped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.usurped
	r.usurped = false
	return u
}

func (r *roster) undecodable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// NotifyJoin is memberlist's news of a live node.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.put(n) }

// NotifyUpdate is memberlist's news of a live node that says something new.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.put(n) }

// NotifyLeave is memberlist's news of a node that left or is dead.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(shoal.NodeID(n.Name))
}

func (r *roster) put(n *memberlist.Node) {
	id := shoal.NodeID(n.Name)
	m, err := decodeMember(id, n.Meta)
	if err != nil {
		if r.leaveOut(id) {
			r.log.Warn("member left out: cannot read its metadata", "node", id, "err", err)
		}
		return
	}
	addr := addrPort(n)
	m.PeerAddr = withHost(m.PeerAddr, addr.Addr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == r.me.ID {
		return // we know better
	}
	if len(r.others) == 0 {
		signal(r.again)
	}
	r.others[id] = other{member: m, addr: addr}
	signal(r.changed)
}

// leaveOut drops a member that cannot be decoded; first is true once per ID.
func (r *roster) leaveOut(id shoal.NodeID) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(id)
	r.bad++
	if r.badNodes[id] || len(r.badNodes) >= maxOutsiders {
		return false
	}
	r.badNodes[id] = true
	return true
}

// drop forgets a member. The caller holds mu.
func (r *roster) drop(id shoal.NodeID) {
	if _, ok := r.others[id]; !ok {
		return
	}
	delete(r.others, id)
	signal(r.changed)
	if len(r.others) == 0 {
		signal(r.rejoin) // alone
	}
}

// NotifyConflict is memberlist's news that a live name it knows is claimed at another
// address.
func (r *roster) NotifyConflict(existing, claim *memberlist.Node) {
	if shoal.NodeID(existing.Name) != r.me.ID {
		return // that node's own business; memberlist's log tells
	}
	addr := addrPort(claim)
	r.mu.Lock()
	r.usurp(addr)
	first := addr != r.warned
	r.warned = addr
	r.mu.Unlock()
	if first {
		r.log.Warn("the mesh knows this node's ID at another address: an earlier run of it that is not yet known "+
			"as dead, or a second agent with a copy of its identity; waiting until that one is gone", "addr", addr)
	}
}

// NotifyMerge is what a member knew when it or we joined the other. memberlist reports
// no conflict if our ID is suspected or dead at its old address.
func (r *roster) NotifyMerge(known []*memberlist.Node) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range known {
		if shoal.NodeID(n.Name) != r.me.ID || n.State == memberlist.StateLeft {
			continue
		}
		if addr := addrPort(n); addr != r.addr {
			r.usurp(addr)
		}
	}
	return nil
}

// usurp notes that our ID is known at addr. The caller holds mu.
func (r *roster) usurp(addr netip.AddrPort) {
	r.usurped = true
	if addr != r.usurper {
		r.usurper = addr
		signal(r.rejoin)
	}
}

// NodeMeta is what memberlist tells others of this node.
func (r *roster) NodeMeta(int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return encodeMember(r.me)
}

// NotifyMsg drops user messages: nothing but members travels by gossip.
func (r *roster) NotifyMsg([]byte) {}

// GetBroadcasts returns none, for the same reason.
func (r *roster) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState returns none, for the same reason.
func (r *roster) LocalState(bool) []byte { return nil }

// MergeRemoteState drops what is none of ours.
func (r *roster) MergeRemoteState([]byte, bool) {}

func addrPort(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(net.IP(n.Addr))
	return netip.AddrPortFrom(ip.Unmap(), n.Port)
}

// signal makes ch ready without waiting.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
