package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/shoal-mesh/shoal"
)

// A member travels as one version byte and then fields: tag (one byte), length of the
// value (uvarint), value. A decoder skips tags it does not know, so fields can be added
// without a new version; the version changes when a known field changes its meaning.
// The ID is not among the fields: it is memberlist's name of the node.
const metaVersion = 1

// The tags. A number, once given, keeps its meaning.
const (
	tagName     = 1 // UTF-8
	tagZone     = 2 // UTF-8
	tagPeerAddr = 3 // "host:port"
	tagCapacity = 4 // uvarint, bytes
	tagState    = 5 // one byte
	tagBoot     = 6 // 8 bytes, big endian
	tagProtocol = 7 // 2 bytes, big endian
)

var errMeta = errors.New("malformed metadata")

// encodeMember returns the binary form of m. Its length does not depend on m.State.
func encodeMember(m shoal.Member) []byte {
	b := make([]byte, 0, 128)
	b = append(b, metaVersion)
	b = appendField(b, tagName, []byte(m.Name))
	b = appendField(b, tagZone, []byte(m.Zone))
	b = appendField(b, tagPeerAddr, []byte(m.PeerAddr))
	b = appendField(b, tagCapacity, binary.AppendUvarint(nil, uint64(m.Capacity)))
	b = appendField(b, tagState, []byte{byte(m.State)})
	b = appendField(b, tagBoot, binary.BigEndian.AppendUint64(nil, m.Boot))
	return appendField(b, tagProtocol, binary.BigEndian.AppendUint16(nil, m.Protocol))
}

func appendField(b []byte, tag byte, value []byte) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// decodeMember returns the member id as b tells of it. A field that is missing is zero.
func decodeMember(id shoal.NodeID, b []byte) (shoal.Member, error) {
	m := shoal.Member{ID: id}
	if len(b) == 0 || b[0] != metaVersion {
		return shoal.Member{}, fmt.Errorf("%w: not of version %d", errMeta, metaVersion)
	}
	for b = b[1:]; len(b) > 0; {
		tag := b[0]
		n, used := binary.Uvarint(b[1:])
		if used <= 0 || n > uint64(len(b)-1-used) {
			return shoal.Member{}, fmt.Errorf("%w: field %d is cut off", errMeta, tag)
		}
		end := 1 + used + int(n)
		if !setField(&m, tag, b[1+used:end]) {
			return shoal.Member{}, fmt.Errorf("%w: field %d of %d bytes", errMeta, tag, n)
		}
		b = b[end:]
	}
	return m, nil
}

// setField sets one field of m; false means that a known field has a bad value.
func setField(m *shoal.Member, tag byte, value []byte) bool {
	switch tag {
	case tagName:
		m.Name = text(value)
	case tagZone:
		m.Zone = text(value)
	case tagPeerAddr:
		m.PeerAddr = text(value)
	case tagCapacity:
		n, used := binary.Uvarint(value)
		if used <= 0 || used != len(value) {
			return false
		}
		m.Capacity = int64(n)
	case tagState:
		if len(value) != 1 {
			return false
		}
		m.State = shoal.State(value[0])
	case tagBoot:
		if len(value) != 8 {
			return false
		}
		m.Boot = binary.BigEndian.Uint64(value)
	case tagProtocol:
		if len(value) != 2 {
			return false
		}
		m.Protocol = binary.BigEndian.Uint16(value)
	}
	return true
}

// text returns value as text that is safe to keep and show.
func text(value []byte) string { return strings.ToValidUTF8(string(value), "\uFFFD") }

// withHost returns the address "host:port" with an empty or unspecified host replaced
// by host. What does not look like an address is returned as it is.
func withHost(addr string, host netip.Addr) string {
	h, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(h); h == "" || (err == nil && ip.IsUnspecified()) {
		return net.JoinHostPort(host.Unmap().String(), port)
	}
	return addr
}
