// Package node is the real mesh: it builds an agent from the floors below, owns the path
// of a read and tells people what goes on.
//
// A read is answered by the first of: this node's store, a peer that holds the block, the
// peer that is filling it, the under file system. Files cuts it into blocks and reads
// ahead, Fetcher brings a missing block here, once for all who want it, and Agent wires
// both to the store, the directory, the peers and the doors.
//
// Only this package knows Prometheus, and only node/config and cmd know how an agent is
// configured. What an agent decides lies below: who holds a block in replicas, what stays
// in blockstore/policy.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/gossip"
	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/node/namespace"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
)

// An Agent is one running node. Start one with Start; it serves until Close.
type Agent struct {
	cfg     *config.Config
	version string
	log     *slog.Logger
	started time.Time
	self    shoal.Member

	store *blockstore.Store
	names *namespace.Namespace
	host  *peer.Host
	where *replicas.Runner
	fetch *Fetcher
	files *Files
	mesh  *gossip.Gossip
	doors doors
	admin *admin

	drain   drain
	zones   atomic.Pointer[map[shoal.NodeID]string] // of the members
	evicted atomic.Pointer[replicas.Runner]         // told of evictions once it runs
	leaving atomic.Pointer[forwarder]               // hands last replicas over once it runs; nil when none are
	closers []closer
}

// A closer ends one part of the agent.
type closer struct {
	name  string
	close func() error
}

// Options are what an agent needs beside its config file.
type Options struct {
	// Version is what the agent says it is.
	Version string
	// Getenv looks up environment variables. Default os.LookupEnv.
	Getenv func(string) (string, bool)
	// Logger receives the agent's log. Default: discard.
	Logger *slog.Logger
}

// Start builds an agent from the bottom up and opens its doors last. When a part cannot
// be had it closes the ones before it and returns one error that names cause and cure.
func Start(ctx context.Context, cfg *config.Config, opt Options) (*Agent, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Getenv == nil {
		opt.Getenv = os.LookupEnv
	}
	secret, err := cfg.Secret(opt.Getenv)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, version: opt.Version, log: opt.Logger, started: time.Now()}
	a.drain.agent = a
	steps := []struct {
		name string
		open func(context.Context) error
	}{
		{"cache", a.openStore},
		{"namespace", a.openNames},
		{"peers", a.openPeers},
		// Whatever can keep the agent from starting comes before it joins: one that starts
		// and dies again and again must not move the directory each time.
		{"admin", a.bindAdmin},
		{"mount", a.checkDoors},
		{"gossip", func(ctx context.Context) error { return a.openGossip(ctx, secret) }},
		{"mount", a.openDoors},
		{"admin", a.serveAdmin},
	}
	for _, s := range steps {
		if err := s.open(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), a.Close())
		}
	}
	a.log.Info("serving", "node", a.self.Name, "id", a.self.ID, "mount", cfg.Mount.Path, "blocks", a.store.Stats().Blocks,
		"took", time.Since(a.started).Round(time.Millisecond))
	return a, nil
}

// Close ends the agent, the doors first, and waits for all of it. It may be called twice.
func (a *Agent) Close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		c := a.closers[i]
		if err := c.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	a.closers = nil
	return errors.Join(errs...)
}

func (a *Agent) onClose(name string, f func() error) {
	a.closers = append(a.closers, closer{name, f})
}

func (a *Agent) openStore(context.Context) error {
	disks := make([]blockstore.Disk, len(a.cfg.Cache))
	for i, d := range a.cfg.Cache {
		if err := os.MkdirAll(d.Path, 0o700); err != nil {
			return fmt.Errorf("cache directory %s: %w: make it, or let this user write there", d.Path, err)
		}
		total, err := diskSize(d.Path)
		if err != nil {
			return err
		}
		disks[i] = blockstore.Disk{Path: d.Path, SizeBytes: d.Size.Of(total)}
	}
	open := storeConfig(a.cfg, disks, a.log.With("part", "store"))
	open.OnEvict, open.Resign = a.dropped, a.resign
	if len(forwardRates(a.cfg)) > 0 {
		open.Forward = a.forward
	}
	store, err := blockstore.Open(open)
	if err != nil {
		return err
	}
	a.store = store
	a.onClose("store", store.Close)
	return nil
}

// dropped tells the directory of blocks the store has let go of.
func (a *Agent) dropped(gone []blockstore.Gone) {
	if where := a.evicted.Load(); where != nil {
		for _, g := range gone {
			where.Drop(g.Key, g.Idle)
		}
	}
}

// resign asks the directory whether blocks of which this node is the keeper may go.
func (a *Agent) resign(keys []shoal.Key) {
	if where := a.evicted.Load(); where != nil {
		where.Resign(keys...)
	}
}

// forward has a last replica that must go handed over to another node, if it may.
func (a *Agent) forward(key shoal.Key, r blockstore.Replica) bool {
	f := a.leaving.Load()
	return f != nil && f.forward(key, r)
}

func (a *Agent) openNames(ctx context.Context) error {
	mounts := make([]namespace.Mount, len(a.cfg.Namespace))
	for i, m := range a.cfg.Namespace {
		driver, err := openUFS(ctx, m, a.log)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", m.UFS, m.Path, err)
		}
		a.onClose(m.UFS, closeUFS(driver))
		// The namespace takes 0 for its default; the config's 0 means to ask every time.
		ttl := max(m.Metadata.TTL, 1)
		mounts[i] = namespace.Mount{Path: m.Path, FS: driver, TTL: ttl, MaxStale: max(m.Metadata.MaxStale, ttl)}
	}
	names, err := namespace.Open(filepath.Join(a.cfg.State, "names"), mounts, namespace.Config{
		OnChange: a.renamed, Logger: a.log.With("part", "namespace"),
	})
	if err != nil {
		return err
	}
	a.names = names
	a.onClose("namespace", names.Close)
	return nil
}

// openPeers opens the data path: the peers' port, the directory, the fetcher.
func (a *Agent) openPeers(context.Context) error {
	identity, err := peer.LoadIdentity(filepath.Join(a.cfg.State, "identity.key"))
	if err != nil {
		return err
	}
	s := &service{agent: a}
	host, err := peer.New(s, s, peer.Config{Identity: identity, Listen: a.cfg.Listen.Peer, Logger: a.log.With("part", "peer")})
	if err != nil {
		return err
	}
	a.onClose("peers", host.Close)
	a.host = host
	a.self = shoal.Member{
		ID: identity.ID(), Name: a.cfg.Cluster.NodeName, Zone: a.cfg.Cluster.Zone,
		PeerAddr: advertised(host.Addr(), a.cfg.Listen.Advertise), Capacity: a.store.Stats().CapacityBytes,
		State: shoal.Serving, Boot: uint64(a.started.UnixNano()), Protocol: protocol,
	}
	if a.self.Name == "" {
		if a.self.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("host name: %w: set cluster.node_name", err)
		}
	}
	limits := limitsOf(a.cfg)
	where, err := replicas.New(a.self.ID, callDirectory{host}, holdings{a.store}, replicas.Config{
		Frontier: a.store, Logger: a.log.With("part", "directory"),
		Limits: func(key shoal.Key) replicas.Limits {
			r, _ := a.store.Replica(key) // one that has just gone needs none
			return limits(r.File.Dataset)
		},
	})
	if err != nil {
		return err
	}
	a.onClose("directory", where.Close)
	a.where = where
	a.evicted.Store(where)
	a.fetch = NewFetcher(where, host, a.store, a.names, FetcherConfig{
		InFlightBytes: int64(a.cfg.Read.MaxInflight), Limits: limits, Near: a.near, Logger: a.log.With("part", "fetch"),
	})
	a.onClose("fetcher", func() error { a.fetch.Close(); return nil })
	a.onClose("drain", a.drain.close)
	if rates := forwardRates(a.cfg); len(rates) > 0 {
		f := newForwarder(where, a.fetch, a.store, rates)
		a.onClose("forwarder", f.close)
		a.leaving.Store(f)
	}
	a.files = NewFiles(a.fetch, a.store, int64(a.cfg.Read.Readahead))
	a.onClose("files", a.files.Close)
	a.openTraces()
	// Nobody is admitted before the first membership, so s is complete by then.
	a.joined([]shoal.Member{a.self})
	return nil
}

func (a *Agent) openGossip(ctx context.Context, secret []byte) error {
	advertise, err := addressOf(ctx, a.cfg.Listen.Advertise)
	if err != nil {
		return err
	}
	started := make(chan struct{})
	mesh, err := gossip.Start(gossip.Config{
		Cluster: a.cfg.Cluster.Name, Secret: secret, Self: a.self, Bind: a.cfg.Listen.Gossip,
		Advertise: advertise, Join: a.cfg.Cluster.Join, Logger: a.log.With("part", "gossip"),
		OnChange: func(members []shoal.Member) {
			<-started // a.mesh is set
			a.joined(members)
		},
	})
	a.mesh = mesh
	close(started)
	if err != nil {
		return err
	}
	a.onClose("gossip", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := mesh.Leave(ctx); err != nil {
			a.log.Warn("left without everybody hearing of it", "err", err)
		}
		return mesh.Close()
	})
	a.awaitMesh(ctx)
	return nil
}

// awaitMesh waits, a few seconds at most, until the agent has joined or its seeds have
// failed. An agent that served before would be home of everything in a mesh of its own,
// and read from the UFS what its peers hold.
func (a *Agent) awaitMesh(ctx context.Context) {
	if len(a.cfg.Cluster.Join) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(a.mesh.Members()) < 2 && a.mesh.JoinError() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// joined hands a new membership to those who act on it: first who may connect, then who
// keeps which part of the directory.
func (a *Agent) joined(members []shoal.Member) {
	zones := make(map[shoal.NodeID]string, len(members))
	for _, m := range members {
		zones[m.ID] = m.Zone
	}
	a.zones.Store(&zones)
	a.host.SetMembers(members)
	a.where.SetMembers(members)
}

// near reports whether a member is of this node's zone.
func (a *Agent) near(id shoal.NodeID) bool {
	zones := a.zones.Load()
	return zones != nil && (*zones)[id] == a.self.Zone
}
