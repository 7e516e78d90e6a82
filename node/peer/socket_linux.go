package peer

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unackedTimeout is how long sent bytes may stay unacknowledged by the other end's kernel
// before the connection is broken. A host that lost power is noticed by it; a process that
// is merely slow is not.
const unackedTimeout = 5 * time.Second

// unsentBytes is how much the kernel takes that it cannot send yet: what waits there nothing can
// overtake. See backlog.
const unsentBytes = 128 << 10

// tuneSocket sets what Go's net package has no option for. Accepted sockets inherit it.
func tuneSocket(_, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTimeout/time.Millisecond)),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes),
		)
	})
	return errors.Join(controlErr, err)
}
