package fuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestStops(t *testing.T) {
	status := func(state string, pending, shared, blocked, ignored, caught uint64) string {
		return fmt.Sprintf("Name:\tcat\nState:\t%s\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
			state, pending, shared, blocked, ignored, caught)
	}
	sleeping := "D (disk sleep)"
	const (
		kill, term, intr = syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT
		alrm, urg, chld  = syscall.SIGALRM, syscall.SIGURG, syscall.SIGCHLD
		segv             = syscall.SIGSEGV
	)
	for _, c := range []struct {
		what, status string
		want         bool
	}{
		{"nothing pending", status(sleeping, 0, 0, 0, 0, 0), false},
		{"killed", status(sleeping, signals(kill), 0, 0, 0, 0), true},
		{"killed as a process", status(sleeping, 0, signals(kill), ^uint64(0), 0, 0), true},
		{"killed though it catches much", status(sleeping, signals(kill, urg), 0, 0, 0, ^uint64(0)), true},
		{"uncaught alarm", status(sleeping, signals(alrm), 0, 0, 0, 0), true},
		{"uncaught fault", status(sleeping, signals(segv), 0, 0, 0, 0), true},
		{"caught alarm", status(sleeping, signals(alrm), 0, 0, 0, signals(alrm)), false},
		{"caught preemption", status(sleeping, signals(urg), 0, 0, 0, signals(urg)), false},
		{"child ended", status(sleeping, 0, signals(chld), 0, 0, 0), false},
		{"caught interrupt", status(sleeping, 0, signals(intr), 0, 0, signals(intr)), true},
		{"caught termination", status(sleeping, 0, signals(term), 0, 0, signals(term)), true},
		{"ignored interrupt", status(sleeping, 0, signals(intr), 0, signals(intr), 0), false},
		{"blocked interrupt", status(sleeping, 0, signals(intr), signals(intr), 0, 0), false},
		{"zombie", status("Z (zombie)", 0, 0, 0, 0, 0), true},
		{"no status", "", false},
	} {
		if got := stops([]byte(c.status)); got != c.want {
			t.Errorf("stops(%s) = %v, want %v", c.what, got, c.want)
		}
	}
}

func TestStopping(t *testing.T) {
	if got := stopping(0); !got {
		t.Errorf("stopping(0) = %v, want true: nobody can be asked", got)
	}
	if got := stopping(uint32(os.Getpid())); got {
		t.Errorf("stopping(self) = %v, want false", got)
	}
}

func TestRequestContext(t *testing.T) {
	cancel := make(chan struct{})
	ctx := context.Context(request(cancel))
	if err := ctx.Err(); err != nil {
		t.Errorf("Err() = %v, want nil", err)
	}
	child, stop := context.WithCancel(ctx)
	defer stop()
	close(cancel)
	<-child.Done()
	if err := ctx.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("Err() = %v, want %v", err, context.Canceled)
	}
	ch := make(chan struct{})
	if n := testing.AllocsPerRun(100, func() { _ = use(request(ch)) }); n != 0 {
		t.Errorf("making a context allocates %v times, want 0", n)
	}
}

//go:noinline
func use(ctx context.Context) error { return ctx.Err() }

func TestInterruptible(t *testing.T) {
	self := uint32(os.Getpid())
	closed := make(chan struct{})
	close(closed)
	r := newRaw(nil, nil, Config{})
	for _, c := range []struct {
		what   string
		cancel chan struct{}
		tid    uint32
		op     func(runs int, ctx context.Context) error
		want   error
		runs   int
	}{
		{
			"undisturbed", make(chan struct{}), self,
			func(int, context.Context) error { return nil }, nil, 1,
		},
		{
			"failed undisturbed", make(chan struct{}), self,
			func(int, context.Context) error { return syscall.EIO }, syscall.EIO, 1,
		},
		{
			"finished though interrupted", closed, 0,
			func(int, context.Context) error { return nil }, nil, 1,
		},
		{
			"caller stops", closed, 0,
			func(_ int, ctx context.Context) error { return ctx.Err() }, context.Canceled, 1,
		},
		{
			"caller goes on", closed, self,
			func(_ int, ctx context.Context) error { return ctx.Err() }, nil, 2,
		},
		{
			"caller goes on, other error", closed, self,
			func(runs int, _ context.Context) error {
				if runs == 1 {
					return errors.New("connection closed by cancel")
				}
				return syscall.ESTALE
			}, syscall.ESTALE, 2,
		},
	} {
		runs := 0
		err := r.interruptible(c.cancel, c.tid, func(ctx context.Context) error {
			runs++
			return c.op(runs, ctx)
		})
		if !errors.Is(err, c.want) || runs != c.runs {
			t.Errorf("%s: interruptible() = %v after %d runs, want %v after %d", c.what, err, runs, c.want, c.runs)
		}
	}
}

func TestInterruptedRequestEndsWithServer(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	r := newRaw(nil, nil, Config{})
	err := r.interruptible(closed, uint32(os.Getpid()), func(ctx context.Context) error {
		if ctx.Err() == nil {
			r.stop()
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interruptible() = %v, want %v", err, context.Canceled)
	}
}
