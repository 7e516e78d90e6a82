package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/fuse"
	"github.com/shoal-mesh/shoal/replicas"
)

// A Summary is what one node says of itself. Its JSON form is stable.
type Summary struct {
	ID      shoal.NodeID  `json:"id"`
	Name    string        `json:"name"`
	Zone    string        `json:"zone"`
	Version string        `json:"version"`
	UptimeS float64       `json:"uptime_s"`
	View    string        `json:"view"`             // equal on nodes that see the same members
	Mount   string        `json:"mount"`            // where the namespace is mounted, "" if it is not
	Kernel  *KernelStatus `json:"kernel,omitempty"` // absent while it is not mounted
	// SmallFiles tells of the mount for small files; absent without one.
	SmallFiles *SmallFilesStatus `json:"small_files,omitempty"`
	Cache      CacheStatus       `json:"cache"`
	Forwards   ForwardStatus     `json:"forwards"`
	Reads      ReadStats         `json:"reads"`
	Fetches    FetchStats        `json:"fetches"`
	Directory  DirectoryStatus   `json:"directory"`
	Peers      PeerStatus        `json:"peers"`
	Gossip     GossipStatus      `json:"gossip"`
	Names      NamesStatus       `json:"names"`
	Mounts     []MountStatus     `json:"mounts"`
	Trace      *TraceStatus      `json:"trace,omitempty"` // absent while reads are not recorded
}

// A KernelStatus tells of what the kernel asks of the mount.
type KernelStatus struct {
	Requests  map[string]uint64 `json:"requests"`   // by kind: lookup, getattr, open, read, release, readdir
	OpenFiles int64             `json:"open_files"` // kept open by the agent, where opens are elided
	Reads     uint64            `json:"reads"`
	ReadBytes uint64            `json:"read_bytes"`
	// Passthrough is "on", or why the kernel reads no file by itself.
	Passthrough        string `json:"passthrough"`
	PassthroughOpens   uint64 `json:"passthrough_opens"`   // handles whose reads it serves: they are not in reads
	PassthroughRefused uint64 `json:"passthrough_refused"` // files that it would not read by itself
}

// A SmallFilesStatus tells of the mount on which opens are elided.
type SmallFilesStatus struct {
	Mount string `json:"mount"`
	KernelStatus
}

// A CacheStatus tells of the block store.
type CacheStatus struct {
	Blocks        int          `json:"blocks"`
	Bytes         int64        `json:"bytes"` // occupied, in whole pages
	CapacityBytes int64        `json:"capacity_bytes"`
	Hits          uint64       `json:"hits"`
	Misses        uint64       `json:"misses"`
	Evictions     uint64       `json:"evictions"`
	LastEvictions uint64       `json:"last_evictions"` // of these, replicas that were the last ones of their blocks
	Corrupt       uint64       `json:"corrupt"`        // blocks dropped for being bad
	Disks         []DiskStatus `json:"disks"`
	// Classes tells what the replicas here are worth to the mesh, by shoal.Class.
	Classes      map[string]ClassStatus `json:"classes"`
	SurplusBytes int64                  `json:"surplus_bytes"` // of surplus and excess replicas
	SurplusShare float64                `json:"surplus_share"` // of the capacity
	AskedBytes   int64                  `json:"asked_bytes"`   // of replicas whose homes have been asked whether they may go
}

// A ClassStatus tells of the replicas of one class.
type ClassStatus struct {
	Blocks int   `json:"blocks"`
	Bytes  int64 `json:"bytes"`
}

// A DiskStatus tells of one cache directory.
type DiskStatus struct {
	Path          string `json:"path"`
	Bytes         int64  `json:"bytes"`
	CapacityBytes int64  `json:"capacity_bytes"`
	LimitBytes    int64  `json:"limit_bytes"`     // less than the capacity while its file system is full
	Error         string `json:"error,omitempty"` // why it takes no blocks
	// Scrubbed is when all its blocks had been verified last; absent when that has not been
	// since the agent started.
	Scrubbed *time.Time `json:"scrubbed,omitempty"`
	ScrubBad int64      `json:"scrub_bad"` // bad blocks found by that
}

// A DirectoryStatus tells of the node's part of the replica directory.
type DirectoryStatus struct {
	Entries  int   `json:"entries"`   // blocks this node is a home of
	Leases   int   `json:"leases"`    // of these, being filled
	FailOpen int64 `json:"fail_open"` // blocks filled because no home answered

	Waiting  int `json:"waiting"`  // announcements of this node that a home has not acknowledged
	Resigned int `json:"resigned"` // blocks this node asked its homes to let go, and has no answer yet

	// What this node did as a home.
	Orders       int `json:"orders"`        // given to holders: to be keeper or not, and the class
	Moved        int `json:"moved"`         // resignations that made another holder the keeper
	LastResigned int `json:"last_resigned"` // resignations from last replicas, which were let go
	Pulled       int `json:"pulled"`        // records other homes handed over
	Differences  int `json:"differences"`   // shards whose digests did not match what a holder has

	// How old the latest changes of this node were when another node that is their home had
	// acknowledged them; 0 before there was one.
	StalenessP50S float64 `json:"staleness_p50_s"`
	StalenessP99S float64 `json:"staleness_p99_s"`
	// Sent is what this node sent to homes and holders, by type of message, answers included.
	Sent map[string]SentStatus `json:"sent"`
}

// A SentStatus tells how much was sent.
type SentStatus struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// A PeerStatus tells of the traffic with other nodes.
type PeerStatus struct {
	Connections int64 `json:"connections"`
	BytesIn     int64 `json:"bytes_in"`
	BytesOut    int64 `json:"bytes_out"`
	Refused     int64 `json:"refused"` // connections of strangers
}

// A GossipStatus tells of the membership protocol.
type GossipStatus struct {
	Members int    `json:"members"`
	Refused uint64 `json:"refused"` // streams and packets of strangers
	// JoinError is why the last attempt to reach the configured seeds failed.
	JoinError string `json:"join_error,omitempty"`
}

// A NamesStatus tells of the namespace's cache of names.
type NamesStatus struct {
	Entries      int64 `json:"entries"`
	Lookups      int64 `json:"lookups"`
	Hits         int64 `json:"hits"` // lookups answered without the UFS
	UFSStats     int64 `json:"ufs_stats"`
	UFSListPages int64 `json:"ufs_list_pages"`
	StaleServed  int64 `json:"stale_served"`
}

// A MountStatus tells of one mount.
type MountStatus struct {
	Path    string `json:"path"`
	Address string `json:"address"`
	Down    bool   `json:"down"` // the UFS did not answer the last request
	Error   string `json:"error,omitempty"`
}

// Status is a node's Summary and the mesh as it sees it.
type Status struct {
	Summary
	Members []MemberStatus `json:"members"`
}

// A MemberStatus is one node as another sees it.
type MemberStatus struct {
	ID            shoal.NodeID `json:"id"`
	Name          string       `json:"name"`
	Zone          string       `json:"zone"`
	State         string       `json:"state"`
	PeerAddr      string       `json:"peer_addr"`
	CapacityBytes int64        `json:"capacity_bytes"`
	Summary       *Summary     `json:"summary,omitempty"` // as the node itself told
	Error         string       `json:"error,omitempty"`   // why it did not
}

// Summary returns what the node says of itself now.
func (a *Agent) Summary() Summary {
	s := Summary{
		ID: a.self.ID, Name: a.self.Name, Zone: a.self.Zone, Version: a.version,
		UptimeS: time.Since(a.started).Seconds(), View: fmt.Sprintf("%016x", uint64(a.where.View())),
		Cache: cacheStatus(a.store.Stats()), Forwards: a.forwarding(), Reads: a.files.Stats(), Fetches: a.fetch.Stats(), Mounts: []MountStatus{},
		Trace: a.tracing(),
	}
	if door := a.doors.main.Load(); door != nil {
		k := kernelStatus(door.Stats())
		s.Mount, s.Kernel = a.cfg.Mount.Path, &k
	}
	if door := a.doors.small.Load(); door != nil {
		s.SmallFiles = &SmallFilesStatus{Mount: a.cfg.Mount.SmallFiles, KernelStatus: kernelStatus(door.Stats())}
	}
	d, p, g, n := a.where.Stats(), a.host.Stats(), a.mesh.Stats(), a.names.Stats()
	s.Directory = directoryStatus(d)
	s.Peers = PeerStatus{Connections: p.Connections, BytesIn: p.BytesIn, BytesOut: p.BytesOut, Refused: p.Refused}
	s.Gossip = GossipStatus{Members: g.Members, Refused: g.RejectedStreams + g.RejectedPackets}
	if err := a.mesh.JoinError(); err != nil {
		s.Gossip.JoinError = err.Error()
	}
	s.Names = NamesStatus{
		Entries: n.Entries, Lookups: n.Lookups, Hits: n.Hits + n.NegativeHits,
		UFSStats: n.UFSStats, UFSListPages: n.UFSListPages, StaleServed: n.StaleServed,
	}
	for _, m := range a.names.Mounts() {
		s.Mounts = append(s.Mounts, MountStatus{Path: m.Path, Address: m.Address, Down: m.Down, Error: m.LastError})
	}
	return s
}

func kernelStatus(k fuse.Stats) KernelStatus {
	return KernelStatus{
		Requests: k.Requests(), OpenFiles: k.OpenFiles, Reads: k.Reads, ReadBytes: k.ReadBytes,
		Passthrough: k.Passthrough, PassthroughOpens: k.PassthroughOpens, PassthroughRefused: k.PassthroughRefused,
	}
}

func directoryStatus(d replicas.Stats) DirectoryStatus {
	s := DirectoryStatus{
		Entries: d.Directory.Entries, Leases: d.Directory.Leases, FailOpen: d.FailOpen,
		Waiting: d.Waiting, Resigned: d.Resigned,
		Orders: d.Directory.Orders, Moved: d.Directory.Moved, LastResigned: d.Directory.LastResigned,
		Pulled: d.Directory.Pulled, Differences: d.Directory.Differences,
		StalenessP50S: d.StalenessP50, StalenessP99S: d.StalenessP99, Sent: make(map[string]SentStatus),
	}
	for _, t := range d.Sent {
		s.Sent[t.Type] = SentStatus{t.Messages, t.Bytes}
	}
	return s
}

func cacheStatus(c blockstore.Stats) CacheStatus {
	s := CacheStatus{
		Blocks: c.Blocks, Bytes: c.Bytes, CapacityBytes: c.CapacityBytes, Hits: c.Hits, Misses: c.Misses,
		Evictions: c.Evictions, LastEvictions: c.LastEvictions, Corrupt: c.Corrupt, AskedBytes: c.AskedBytes,
		Classes:      make(map[string]ClassStatus),
		SurplusBytes: c.ByClass[shoal.Surplus].Bytes + c.ByClass[shoal.Excess].Bytes,
	}
	for class, u := range c.ByClass {
		s.Classes[shoal.Class(class).String()] = ClassStatus{u.Blocks, u.Bytes}
	}
	if c.CapacityBytes > 0 {
		s.SurplusShare = float64(s.SurplusBytes) / float64(c.CapacityBytes)
	}
	for _, d := range c.Disks {
		disk := DiskStatus{Path: d.Path, Bytes: d.Bytes, CapacityBytes: d.CapacityBytes, LimitBytes: d.LimitBytes, ScrubBad: d.Scrub.Bad}
		if !d.Scrub.LastPass.IsZero() {
			disk.Scrubbed = &d.Scrub.LastPass
		}
		if d.Err != nil {
			disk.Error = d.Err.Error()
		}
		s.Disks = append(s.Disks, disk)
	}
	return s
}

// Status returns the node's Summary and asks every other member for its own; one that
// does not answer within a second is listed with the reason.
func (a *Agent) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s := Status{Summary: a.Summary()}
	members := a.mesh.Members()
	s.Members = make([]MemberStatus, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		to := &s.Members[i]
		*to = MemberStatus{ID: m.ID, Name: m.Name, Zone: m.Zone, State: m.State.String(), PeerAddr: m.PeerAddr, CapacityBytes: m.Capacity}
		if m.ID == a.self.ID {
			to.Summary = &s.Summary
			continue
		}
		wg.Go(func() {
			summary, err := callSummaryOf(ctx, a.host, m.ID)
			if err != nil {
				to.Error = err.Error()
				return
			}
			to.Summary = &summary
		})
	}
	wg.Wait()
	return s
}

// statfs describes the cache to programs that ask how full the mount is.
func (a *Agent) statfs() fuse.Space {
	s := a.store.Stats()
	return fuse.Space{Bytes: s.CapacityBytes, FreeBytes: max(0, s.CapacityBytes-s.Bytes), Files: a.names.Stats().Entries}
}

// ready says why the node cannot serve, or nil. A disk that takes no blocks is no reason
// while another does.
func (a *Agent) ready() error {
	var errs []error
	disks := a.store.Stats().Disks
	for _, d := range disks {
		if d.Err != nil {
			errs = append(errs, d.Err)
		}
	}
	if len(errs) == len(disks) {
		return errors.Join(errs...)
	}
	select {
	case <-a.Done(): // never, without a mount
		return unix.ENOTCONN
	default:
		return nil
	}
}
