package shoal

// A NodeID names a node for as long as its cache lives, whatever its address. It is the
// text form of the node's public key, so that the other end of a connection can prove it.
type NodeID string

// A View is a hash of the membership a node acts under. Two nodes with the same View
// agree on every block's homes.
type View uint64

// A State is what a node says it can do.
type State uint8

// The states of a node.
const (
	Warming  State = iota // has joined, does not yet know what its shards hold
	Serving               // keeps its shards and serves its blocks
	Draining              // leaves soon: keeps no shards, still serves its blocks
)

// String returns the word for s.
func (s State) String() string {
	switch s {
	case Warming:
		return "warming"
	case Serving:
		return "serving"
	case Draining:
		return "draining"
	}
	return "unknown"
}

// A Member is what gossip tells of one node.
type Member struct {
	ID       NodeID
	Name     string // for people; the host name unless configured
	Zone     string
	PeerAddr string // where it serves peers, "host:port"
	Capacity int64  // bytes of cache
	State    State
	Boot     uint64 // differs at every start: what the node kept in memory is gone
	Protocol uint16 // version of the peer protocol it speaks
}
