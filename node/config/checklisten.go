package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

func (k *checker) listen(l Listen, a Admin) {
	k.hostPort("listen.gossip", l.Gossip)
	k.hostPort("listen.peer", l.Peer)
	if l.Admin != AdminOff && k.hostPort("listen.admin", l.Admin) && a.TokenFile == "" && !isLoopback(l.Admin) {
		k.refuse("listen.admin", l.Admin, "reachable from other machines without a token; set admin.token_file, or listen on 127.0.0.1:7948")
	}
	if l.S3 != "" {
		k.refuse("listen.s3", l.S3, "the S3 door is not in this version; remove listen.s3")
	}
	if strings.ContainsAny(l.Advertise, " /[]") || isHostPort(l.Advertise) {
		k.refuse("listen.advertise", l.Advertise, "not a host; write an IP address or a name, without a port")
	}
	k.ports(l)
}

// ports refuses two listeners of one port.
func (k *checker) ports(l Listen) {
	type listener struct{ key, address string }
	all := []listener{{"listen.gossip", l.Gossip}, {"listen.peer", l.Peer}, {"listen.admin", l.Admin}}
	for i, a := range all {
		for _, b := range all[:i] {
			if samePort(a.address, b.address) {
				k.refuse(a.key, a.address, fmt.Sprintf("the port is taken by %s %q; give each its own", b.key, b.address))
			}
		}
	}
}

// hostPort refuses what is not "host:port", and reports whether it was.
func (k *checker) hostPort(key, value string) bool {
	if isHostPort(value) {
		return true
	}
	k.refuse(key, value, "not host:port; write it as 10.0.0.5:7946, host:7946 or :7946")
	return false
}

func isHostPort(value string) bool {
	host, port, err := net.SplitHostPort(value)
	if err != nil || strings.ContainsAny(host, " /") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// samePort reports whether two addresses cannot both be listened at.
func samePort(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
