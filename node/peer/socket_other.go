//go:build !linux

package peer

import "syscall"

// tuneSocket does nothing: other systems notice a host that lost power by the keep-alive
// of the connection, some seconds later.
func tuneSocket(_, _ string, _ syscall.RawConn) error { return nil }
