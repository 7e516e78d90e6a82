package fuse

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"
)

// A request is the context of one request: it ends when the kernel interrupts it. It is
// the channel itself, so making one allocates nothing and starts no goroutine. It is
// good for the request only: the channel serves other requests later.
type request <-chan struct{}

var _ context.Context = request(nil)

// Deadline tells that a request has none: the UFS drivers have their own.
func (request) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the kernel interrupts the request.
func (r request) Done() <-chan struct{} { return r }

// Err returns context.Canceled once the kernel has interrupted the request.
func (r request) Err() error {
	select {
	case <-r:
		return context.Canceled
	default:
		return nil
	}
}

// Value returns nil: a request carries no values.
func (request) Value(any) any { return nil }

const (
	// retryLimit bounds how long a request goes on that a harmless signal interrupted.
	retryLimit = 30 * time.Second
	// watchEvery is how often such a request looks whether its caller is dying.
	watchEvery = 100 * time.Millisecond
)

// interruptible runs op, and ends it with EINTR when its caller is to stop.
//
// The kernel interrupts a request at any signal, once, and does not say which. Few
// programs expect EINTR of a file, and signals are everywhere (timers, children,
// profilers, Go's scheduler). So a request whose caller is not about to stop is run
// again, and its caller watched, since the kernel will not tell of a second signal.
func (r *raw) interruptible(cancel <-chan struct{}, tid uint32, op func(ctx context.Context) error) error {
	err := op(request(cancel))
	if err == nil || request(cancel).Err() == nil {
		return err
	}
	if stopping(tid) {
		r.n.interrupts.Add(1)
		return context.Canceled
	}
	ctx, stop := context.WithTimeoutCause(context.Background(), retryLimit, context.Canceled)
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer stop()
		r.watch(ctx, tid)
	}()
	err = op(ctx)
	stopped := ctx.Err() != nil
	stop()
	<-watched
	if err != nil && stopped {
		r.n.interrupts.Add(1)
		return context.Canceled
	}
	return err
}

// watch returns when thread tid is about to stop, the server is, or ctx is done.
func (r *raw) watch(ctx context.Context, tid uint32) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if stopping(tid) {
				return
			}
		case <-r.stopped:
			return
		case <-ctx.Done():
			return
		}
	}
}

// stopping reports whether thread tid is about to stop. A thread this process cannot
// see (0, or of another pid namespace) counts as stopping: better EINTR than a process
// that cannot be killed.
func stopping(tid uint32) bool {
	if tid == 0 {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return !errors.Is(err, syscall.EMFILE)
	}
	return stops(status)
}

// stops decides from a thread's /proc status whether a signal that waits for it will
// end it, or asks it to end: SIGKILL and what is not caught and kills by default; and
// SIGINT, SIGTERM, SIGHUP and SIGQUIT also when they are caught.
func stops(status []byte) bool {
	var pending, blocked, ignored, caught uint64
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			if bytes.HasPrefix(value, []byte("Z")) || bytes.HasPrefix(value, []byte("X")) {
				return true
			}
		case "SigPnd", "ShdPnd":
			pending |= hex(value)
		case "SigBlk":
			blocked = hex(value)
		case "SigIgn":
			ignored = hex(value)
		case "SigCgt":
			caught = hex(value)
		}
	}
	if pending&signals(syscall.SIGKILL) != 0 {
		return true
	}
	harmless := signals(syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	asking := signals(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	pending &^= blocked | ignored
	return pending&^caught&^harmless != 0 || pending&caught&asking != 0
}

// hex returns the number b spells, 0 if none.
func hex(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// signals returns the set of sigs as the kernel writes it.
func signals(sigs ...syscall.Signal) uint64 {
	var set uint64
	for _, s := range sigs {
		set |= 1 << (s - 1)
	}
	return set
}
