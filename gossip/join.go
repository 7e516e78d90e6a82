package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// joinFanout is how many seeds one round dials, all at once. A round that meets
	// only dead ones is followed by another, which picks anew.
	joinFanout = 5
	// lookupTimeout bounds the lookup of one seed's name.
	lookupTimeout = 5 * time.Second
)

// A resolver returns all addresses of host.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// A joiner reaches for seeds that are not members: with growing waits while this node
// is alone, and now and then for ever, because two halves of a cluster that was cut
// forget one another after a while.
type joiner struct {
	seeds    []string
	self     netip.AddrPort
	everyIP  bool // this node listens on all addresses of the machine
	resolve  resolver
	list     *memberlist.Memberlist
	wire     *transport
	roster   *roster
	log      *slog.Logger
	first    time.Duration // wait after the first failed round
	interval time.Duration // the longest wait
	after    func(error)
	told     slog.Level // of the latest line about a row of failed rounds; run's alone

	mu  sync.Mutex // guards err
	err error      // of the latest round
}

func newJoiner(cfg Config, self netip.AddrPort, list *memberlist.Memberlist, wire *transport, r *roster) *joiner {
	j := &joiner{
		seeds: cfg.Join, self: self, everyIP: wire.source == nil, resolve: cfg.resolve,
		list: list, wire: wire, roster: r, log: cfg.Logger,
		first: cfg.JoinBackoff, interval: max(cfg.RejoinInterval, cfg.JoinBackoff), after: cfg.afterRound,
	}
	if j.resolve == nil {
		j.resolve = lookup
	}
	return j
}

// run joins until ctx ends.
func (j *joiner) run(ctx context.Context) {
	backoff := j.first
	for {
		settled, err := j.round(ctx)
		if ctx.Err() != nil {
			return // what failed, failed because we are closing
		}
		j.report(err)
		wait := j.interval
		if settled {
			backoff = j.first
		} else {
			wait, backoff = backoff, min(2*backoff, j.interval)
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1)) // jitter: a fleet restarts at once
		select {
		case <-timer.C:
		case <-j.roster.rejoin:
			backoff = j.first
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// lastError returns why the latest round failed.
func (j *joiner) lastError() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// round looks the seeds up and joins some that are not members. It is settled when
// this node is a member among others, and they know it by its address.
func (j *joiner) round(ctx context.Context) (settled bool, err error) {
	addrs, err := j.lookupSeeds(ctx)
	known := j.roster.addrs()
	addrs = slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return known[a] })
	if j.roster.takeUsurped() { // then members must be told where we are
		addrs = slices.AppendSeq(addrs, maps.Keys(known))
	}
	if len(addrs) > 0 {
		err = errors.Join(err, j.dial(addrs))
	}
	if len(j.roster.addrs()) == 0 {
		return false, err
	}
	return !j.roster.isUsurped(), nil // a seed that is down is no trouble of ours now
}

// dial exchanges members with up to joinFanout of addrs, picked at random.
func (j *joiner) dial(addrs []netip.AddrPort) error {
	rand.Shuffle(len(addrs), func(a, b int) { addrs[a], addrs[b] = addrs[b], addrs[a] })
	addrs = addrs[:min(len(addrs), joinFanout)]
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { errs[i] = j.join(a.String()) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// join exchanges members with the node at addr.
func (j *joiner) join(addr string) error {
	j.wire.watch(addr)
	_, err := j.list.Join([]string{addr})
	cause := j.wire.unwatch(addr)
	if err == nil || cause == nil {
		return err
	}
	if op := (*net.OpError)(nil); errors.As(cause, &op) {
		cause = fmt.Errorf("%s: %w", addr, op.Err) // names the address once
	}
	return cause
}

// report keeps the round's error and logs the first of a row, unless it is a refusal,
// which the transport has logged. Seeds that only do not listen yet are no trouble: the
// first node of a cluster meets no others. Trouble that comes after is logged as well.
func (j *joiner) report(err error) {
	j.mu.Lock()
	before := j.err
	j.err = err
	j.mu.Unlock()
	level := slog.LevelWarn
	if onlyUnheard(err) {
		level = slog.LevelInfo
	}
	switch {
	case errors.Is(err, ErrRefused):
		j.told = slog.LevelWarn
	case err != nil && (before == nil || level > j.told):
		j.told = level
		j.log.Log(context.Background(), level, "no seed answers; going on alone and trying again",
			"seeds", j.seeds, "err", oneLine(err))
	case err == nil && before != nil:
		j.log.Info("joined the cluster", "members", len(j.roster.addrs())+1)
	}
	if j.after != nil {
		j.after(err)
	}
}

// onlyUnheard reports whether err, of some seeds, says no more than that nobody listens
// there.
func onlyUnheard(err error) bool {
	var several interface{ Unwrap() []error }
	if !errors.As(err, &several) {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	for _, err := range several.Unwrap() {
		if !onlyUnheard(err) {
			return false
		}
	}
	return true
}

// oneLine returns the text of err, which may be of several lines, for the log.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if part := strings.Trim(line, " *\t\r\n"); part != "" { // memberlist makes lists of errors
			parts = append(parts, part)
		}
	}
	return cutLine(strings.Join(parts, "; "))
}

// lookupSeeds returns the addresses of all seeds but our own, each once, and what
// kept it from looking up the others.
func (j *joiner) lookupSeeds(ctx context.Context) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	var errs []error
	local := localIPs()
	for _, seed := range j.seeds {
		found, err := j.lookupSeed(ctx, seed)
		if err != nil {
			errs = append(errs, fmt.Errorf("seed %s: %w", seed, err))
		}
		for _, a := range found {
			if !j.isSelf(a, local) && !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs, errors.Join(errs...)
}

func (j *joiner) lookupSeed(ctx context.Context, seed string) ([]netip.AddrPort, error) {
	host, port := seed, j.self.Port()
	if h, p, err := net.SplitHostPort(seed); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("port %q is not a number from 1 to 65535", p)
		}
		host, port = h, uint16(n)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := j.resolve(ctx, host)
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), port)
	}
	return addrs, err
}

// isSelf reports whether a is this node: its address, or its port at any address of
// the machine if it listens on all.
func (j *joiner) isSelf(a netip.AddrPort, local []netip.Addr) bool {
	if a == j.self {
		return true
	}
	ip := a.Addr()
	return j.everyIP && a.Port() == j.self.Port() && (ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(local, ip))
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
