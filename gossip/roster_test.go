package gossip

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"

	"github.com/shoal-mesh/shoal"
)

func newTestRoster(log *lines) *roster {
	self := shoal.Member{ID: "m", PeerAddr: "0.0.0.0:7947"}
	return newRoster(self, netip.MustParseAddrPort("10.0.0.1:7946"), slog.New(log))
}

func node(id string, ip net.IP, meta []byte) *memberlist.Node {
	return &memberlist.Node{Name: id, Addr: ip, Port: 7946, Meta: meta}
}

func TestRosterIsSortedAndFillsHosts(t *testing.T) {
	r := newTestRoster(newLines())
	for _, id := range []string{"z", "a"} {
		m := sampleMember()
		m.ID, m.PeerAddr = shoal.NodeID(id), ":7947"
		r.NotifyJoin(node(id, net.IPv4(10, 0, 0, 2), encodeMember(m)))
	}
	got := r.members()
	if names(got) != "a m z" || got[0].PeerAddr != "10.0.0.2:7947" || got[1].PeerAddr != "10.0.0.1:7947" {
		t.Errorf("members() = %+v, want a m z with hosts filled in", got)
	}
	r.NotifyLeave(node("m", nil, nil))
	r.NotifyLeave(node("z", nil, nil))
	r.NotifyLeave(node("z", nil, nil))
	if got := names(r.members()); got != "a m" {
		t.Errorf("members() after leaves = %s, want a m", got)
	}
	select {
	case <-r.rejoin:
		t.Error("rejoin was signalled with a member left")
	default:
	}
	r.NotifyLeave(node("a", nil, nil))
	select {
	case <-r.rejoin:
	default:
		t.Error("rejoin was not signalled when alone")
	}
}

// A member that cannot be decoded is left out, is one line, and comes back when it can.
func TestRosterLeavesOutUnreadable(t *testing.T) {
	log := newLines()
	r := newTestRoster(log)
	good := node("a", net.IPv4(10, 0, 0, 2), encodeMember(shoal.Member{Name: "n", Zone: "\xff"}))
	r.NotifyJoin(good)
	if got := r.members(); len(got) != 2 || got[0].Zone != "\uFFFD" {
		t.Errorf("members() = %+v, want a with a cleaned zone", got)
	}
	for range 3 {
		r.NotifyUpdate(node("a", net.IPv4(10, 0, 0, 2), []byte{metaVersion + 1}))
	}
	if got := names(r.members()); got != "m" || r.undecodable() != 3 {
		t.Errorf("members() = %s with %d undecodable, want m with 3", got, r.undecodable())
	}
	if got := log.with(""); len(got) != 1 || !strings.Contains(got[0], "node=a") {
		t.Errorf("log = %q, want one line", got)
	}
	r.NotifyUpdate(good)
	if got := names(r.members()); got != "a m" {
		t.Errorf("members() = %s, want a m", got)
	}
}

// A second agent with our identity is one line; a stranger's conflict is not our business.
func TestRosterTellsOfItsDouble(t *testing.T) {
	log := newLines()
	r := newTestRoster(log)
	r.NotifyConflict(node("a", net.IPv4(10, 0, 0, 2), nil), node("a", net.IPv4(10, 0, 0, 3), nil))
	if r.isUsurped() {
		t.Error("isUsurped() = true, want false: the conflict is another node's")
	}
	for range 3 {
		r.takeUsurped()
		here, there := node("m", net.IPv4(10, 0, 0, 1), nil), node("m", net.IPv4(10, 0, 0, 3), nil)
		if err := r.NotifyMerge([]*memberlist.Node{here}); err != nil || r.takeUsurped() {
			t.Errorf("NotifyMerge(at our address) = %v and usurped, want nil and not", err)
		}
		if err := r.NotifyMerge([]*memberlist.Node{there}); err != nil || !r.isUsurped() {
			t.Errorf("NotifyMerge(at another address) = %v and not usurped, want nil and usurped", err)
		}
		r.NotifyConflict(here, there)
	}
	if !r.takeUsurped() || r.isUsurped() {
		t.Error("takeUsurped(), isUsurped() = false or true, want true and then false")
	}
	if got := log.with("at another address"); len(got) != 1 || !strings.Contains(got[0], "addr=10.0.0.3:7946") {
		t.Errorf("log = %q, want one line", got)
	}
}
