package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/fuse"
	"github.com/shoal-mesh/shoal/node/peer"
)

// protocol is the version of what nodes say to each other.
const protocol = 1

// The first byte of a call says whom it is for.
const (
	callReplicas = 1 // the directory; the rest is replicas' own
	callSummary  = 2 // asks for the node's Summary as JSON
	callOffer    = 3 // asks the node to keep a block; the rest is an offer, the answer 1 if it will, else 0
	callForward  = 4 // callOffer of a last replica its holder must evict: how often that was done, and the offer
	callSync     = 5 // has the node sync the path that follows; the answer is empty
)

var errUnknownCall = errors.New("unknown call: the caller runs another version")

// A service answers the peers of an agent.
type service struct{ agent *Agent }

// OpenBlock serves a block that is here, or on its way here.
func (s *service) OpenBlock(ctx context.Context, key shoal.Key) (peer.Stream, error) {
	return s.agent.fetch.OpenBlock(ctx, key)
}

// HandleCall hands a request to the part it is for.
func (s *service) HandleCall(ctx context.Context, from shoal.NodeID, request []byte) ([]byte, error) {
	if len(request) == 0 {
		return nil, errUnknownCall
	}
	switch request[0] {
	case callReplicas:
		return s.agent.where.HandleCall(ctx, from, request[1:])
	case callSummary:
		return json.Marshal(s.agent.Summary())
	case callOffer, callForward:
		return s.agent.fetch.HandleOffer(from, request)
	case callSync:
		return nil, s.agent.syncHere(ctx, string(request[1:]))
	}
	return nil, errUnknownCall
}

// callDirectory sends the directory's requests through the peers' port.
type callDirectory struct{ host *peer.Host }

func (c callDirectory) Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
	framed := make([]byte, 0, 1+len(request))
	return c.host.Call(ctx, to, append(append(framed, callReplicas), request...))
}

// callSummaryOf asks a peer for its Summary.
func callSummaryOf(ctx context.Context, host *peer.Host, to shoal.NodeID) (Summary, error) {
	reply, err := host.Call(ctx, to, []byte{callSummary})
	if err != nil {
		return Summary{}, err
	}
	var s Summary
	if err := json.Unmarshal(reply, &s); err != nil {
		return Summary{}, fmt.Errorf("summary of %s: %w", to, err)
	}
	return s, nil
}

// opener opens entries for the kernel's door.
type opener struct{ files *Files }

func (o opener) OpenFile(_ context.Context, e shoal.Entry) (fuse.File, error) {
	return o.files.Open(e)
}

// advertised returns where peers reach a listener at addr: at host, if one is given.
func advertised(addr, host string) string {
	if host == "" {
		return addr
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(host, port)
}

// addressOf returns the IP address of a host that may be a name; "" stays "".
func addressOf(ctx context.Context, host string) (string, error) {
	if host == "" || net.ParseIP(host) != nil {
		return host, nil
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", fmt.Errorf("listen.advertise: %w: give an address, or a name that resolves", err)
	}
	return addrs[0], nil
}
