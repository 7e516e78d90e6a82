package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/hashicorp/memberlist"
)

// portTries is how often a free port is picked: TCP's choice may be taken for UDP.
const portTries = 10

// listen binds cfg.Bind and returns the transport with the address others reach it at.
func listen(cfg Config, key []byte, logger *log.Logger, strangers *outsiders) (*transport, netip.AddrPort, error) {
	bind, err := net.ResolveTCPAddr("tcp", cfg.Bind)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("bind address %q is not host:port with a host of this machine: %w", cfg.Bind, err)
	}
	host, source := "", bind.IP
	if source.IsUnspecified() {
		source = nil
	}
	if bind.IP != nil {
		host = bind.IP.String()
	}
	var inner *memberlist.NetTransport
	for range portTries {
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{host}, BindPort: bind.Port, Logger: logger,
		})
		if err == nil || bind.Port != 0 {
			break
		}
	}
	if err != nil {
		return nil, netip.AddrPort{}, bindError(bind, err)
	}
	t := newTransport(inner, key, source, cfg.HandshakeTimeout, strangers)
	addr, err := advertised(cfg.Advertise, source, inner.GetAutoBindPort())
	if err != nil {
		return nil, netip.AddrPort{}, errors.Join(err, t.Shutdown())
	}
	return t, addr, nil
}

// bindError says why bind cannot be listened on and what helps. memberlist flattens the
// cause into text, so the listening is tried once more to learn it.
func bindError(bind *net.TCPAddr, cause error) error {
	err := tryBind(bind)
	cure := ""
	switch {
	case err == nil:
		err = cause // it works now
	case errors.Is(err, syscall.EADDRINUSE):
		cure = ": another agent or program has the port; stop it, or bind to another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		cure = ": this machine does not have the address; bind to one it has, or leave the host empty for all"
	case errors.Is(err, syscall.EACCES):
		cure = ": use a port above 1023, or run with the right to bind lower ones"
	}
	return fmt.Errorf("listen on %s: %w%s", bind, err, cure)
}

func tryBind(bind *net.TCPAddr) error {
	tcp, err := net.ListenTCP("tcp", bind)
	if err != nil {
		return err
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: bind.IP, Port: tcp.Addr().(*net.TCPAddr).Port})
	if err != nil {
		return err
	}
	return udp.Close()
}

// advertised returns the address to tell others: the configured one, else the bound IP,
// else the one that packets to other machines leave from.
func advertised(configured string, bound net.IP, port int) (netip.AddrPort, error) {
	if configured == "" {
		ip, ok := netip.AddrFromSlice(bound)
		if !ok {
			ip = outgoingIP()
		}
		return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
	}
	if ip, err := netip.ParseAddr(configured); err == nil {
		configured = net.JoinHostPort(ip.String(), strconv.Itoa(port))
	}
	addr, err := netip.ParseAddrPort(configured)
	if err != nil || addr.Addr().IsUnspecified() {
		return netip.AddrPort{}, fmt.Errorf("advertise address %q is not an IP address, with or without a port, that others can dial", configured)
	}
	if addr.Port() != 0 {
		port = int(addr.Port())
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), uint16(port)), nil
}

// outgoingIP returns the address of the interface that has the default route, else any
// that is not a loopback, else the loopback: a machine without a network is a mesh of
// its own.
func outgoingIP() netip.Addr {
	// Documentation addresses: "connecting" a UDP socket only looks up the route.
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "udp", far)
		if err != nil {
			continue
		}
		ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		_ = conn.Close()
		return ip
	}
	for _, ip := range localIPs() {
		if ip.IsGlobalUnicast() {
			return ip
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// localIPs returns the addresses of this machine, none if they cannot be listed.
func localIPs() []netip.Addr {
	addrs, _ := net.InterfaceAddrs()
	var ips []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			ips = append(ips, p.Addr().Unmap())
		}
	}
	return ips
}

// hostOf returns the host part of "host:port", or all of addr if it has none.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
