package gossip

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
)

func sampleMember() shoal.Member {
	return shoal.Member{
		ID: "12D3KooWSample", Name: "gpu-17", Zone: "rack-4", PeerAddr: "10.0.0.17:7947",
		Capacity: 8 << 40, State: shoal.Serving, Boot: 0xfedcba9876543210, Protocol: 3,
	}
}

func TestMemberRoundTrip(t *testing.T) {
	full := sampleMember()
	for _, want := range []shoal.Member{full, {ID: "x"}, {ID: "y", Capacity: -1, State: 200, Boot: 1<<64 - 1, Protocol: 1<<16 - 1}} {
		got, err := decodeMember(want.ID, encodeMember(want))
		if err != nil || got != want {
			t.Errorf("decodeMember(encodeMember(%+v)) = %+v, %v", want, got, err)
		}
	}
	if n := len(encodeMember(full)); n > 80 {
		t.Errorf("len(encodeMember(%+v)) = %d, want at most 80", full, n)
	}
}

func TestMemberOfAnotherVersion(t *testing.T) {
	want := sampleMember()
	b := encodeMember(want)
	future := appendField([]byte{metaVersion}, 99, []byte("what we do not know"))
	future = append(future, b[1:]...)
	future = appendField(future, 200, nil)
	if got, err := decodeMember(want.ID, future); err != nil || got != want {
		t.Errorf("decodeMember(with new fields) = %+v, %v, want %+v", got, err, want)
	}
	b[0]++
	if _, err := decodeMember(want.ID, b); !errors.Is(err, errMeta) {
		t.Errorf("decodeMember(version %d) = %v, want %v", b[0], err, errMeta)
	}
}

func TestMalformedMember(t *testing.T) {
	for _, b := range [][]byte{
		nil,
		{metaVersion, tagName},
		{metaVersion, tagName, 5, 'a'},
		{metaVersion, tagName, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		{metaVersion, tagState, 0},
		{metaVersion, tagBoot, 7, 1, 2, 3, 4, 5, 6, 7},
		{metaVersion, tagProtocol, 1, 1},
		{metaVersion, tagCapacity, 1, 0x80},
		{metaVersion, tagCapacity, 2, 1, 1},
	} {
		if m, err := decodeMember("x", b); !errors.Is(err, errMeta) {
			t.Errorf("decodeMember(%v) = %+v, %v, want %v", b, m, err, errMeta)
		}
	}
}

func FuzzDecodeMember(f *testing.F) {
	full := encodeMember(sampleMember())
	f.Add(full)
	f.Add(full[:len(full)-1])
	f.Add(appendField(full, 99, []byte("new")))
	f.Add([]byte{metaVersion, tagName, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMember("x", b)
		if err != nil {
			return
		}
		again, err := decodeMember("x", encodeMember(m))
		if err != nil || again != m {
			t.Errorf("decodeMember(encodeMember(%+v)) = %+v, %v", m, again, err)
		}
	})
}

func TestWithHost(t *testing.T) {
	host := netip.MustParseAddr("::ffff:10.0.0.5")
	for addr, want := range map[string]string{
		":7947":            "10.0.0.5:7947",
		"0.0.0.0:7947":     "10.0.0.5:7947",
		"[::]:7947":        "10.0.0.5:7947",
		"10.9.9.9:7947":    "10.9.9.9:7947",
		"gpu-1.local:7947": "gpu-1.local:7947",
		"":                 "",
		"nonsense":         "nonsense",
	} {
		if got := withHost(addr, host); got != want {
			t.Errorf("withHost(%q, %v) = %q, want %q", addr, host, got, want)
		}
	}
	if got, want := withHost(":1", netip.MustParseAddr("fd00::1")), "[fd00::1]:1"; got != want {
		t.Errorf("withHost(:1, fd00::1) = %q, want %q", got, want)
	}
}

func TestLabelHidesName(t *testing.T) {
	if l := label("fleet-a"); strings.Contains(l, "fleet") || l == label("fleet-b") || len(l) != 16 {
		t.Errorf("label(fleet-a) = %q, want 16 digits of a hash", l)
	}
}
