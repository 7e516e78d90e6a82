package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/fuse"
	"github.com/shoal-mesh/shoal/replicas"
)

// metrics returns a registry that reads the agent's own counters when it is scraped, so
// that nothing is counted twice. Labels are bounded: tiers, disks, size classes and mounts,
// never the paths of files.
func (a *Agent) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for t := range shoal.Tiers {
		labels := prometheus.Labels{"tier": t.String()}
		count(reg, "read_bytes_total", "Bytes given to readers, by the tier they came from.", labels,
			func() float64 { return float64(a.files.bytes[t].Load()) })
	}
	a.readMetrics(reg)
	reg.MustRegister(newCacheCollector(a.store.Stats))
	a.kernelMetrics(reg)
	a.meshMetrics(reg)
	directoryMetrics(reg, a.where.Stats)
	forwardMetrics(reg, a.forwarding)
	traceMetrics(reg, a.tracing)
	return reg
}

func (a *Agent) readMetrics(reg *prometheus.Registry) {
	f := &a.fetch.stats
	count(reg, "opens_total", "Files opened.", nil, func() float64 { return float64(a.files.opens.Load()) })
	count(reg, "read_errors_total", "Reads that returned an error.", nil, func() float64 { return float64(a.files.failed.Load()) })
	count(reg, "fetched_bytes_total", "Bytes brought to this node.", prometheus.Labels{"tier": "peer"},
		func() float64 { return float64(f.bytes[shoal.TierPeer].Load()) })
	count(reg, "fetched_bytes_total", "Bytes brought to this node.", prometheus.Labels{"tier": "ufs"},
		func() float64 { return float64(f.bytes[shoal.TierUFS].Load()) })
	gauge(reg, "fetch_in_flight_bytes", "Memory of blocks on their way here.", nil, func() float64 { return float64(f.inFlight.Load()) })
	gauge(reg, "peer_read_cost", "What a read from a node of this zone costs, where one from the UFS costs 1.", nil,
		func() float64 { return a.fetch.Stats().PeerCost })
	gauge(reg, "zone_read_cost", "The same from a node of another zone.", nil, func() float64 { return a.fetch.Stats().ZoneCost })
	count(reg, "peer_transfer_errors_total", "Transfers a peer did not finish.", nil, func() float64 { return float64(f.peerErrors.Load()) })
	count(reg, "hedges_total", "Transfers given up for another source because the peer was slow.", nil, func() float64 { return float64(f.hedged.Load()) })
	count(reg, "bad_chunks_total", "Chunks from peers that did not match their checksum.", nil, func() float64 { return float64(f.badChunks.Load()) })
	count(reg, "bad_blocks_total", "Blocks from peers that were not what their filler announced.", nil, func() float64 { return float64(f.badBlocks.Load()) })
	count(reg, "not_kept_total", "Blocks read but not stored.", nil, func() float64 { return float64(f.notKept.Load()) })
	count(reg, "bypassed_reads_total", "Reads that fetched a range, as nobody was to keep the block.", nil, func() float64 { return float64(f.bypassed.Load()) })
	count(reg, "placed_blocks_total", "Blocks read here that another node keeps.", nil, func() float64 { return float64(f.placed.Load()) })
	count(reg, "not_placed_blocks_total", "Blocks another node was to keep, and did not.", nil, func() float64 { return float64(f.notPlaced.Load()) })
	count(reg, "taken_blocks_total", "Blocks kept for another node.", nil, func() float64 { return float64(f.taken.Load()) })
	count(reg, "fetch_failures_total", "Blocks that no source could bring.", nil, func() float64 { return float64(f.failures.Load()) })
}

// kernelMetrics tells of what the kernel asks of the mounts, of both together; all are 0 without one.
func (a *Agent) kernelMetrics(reg *prometheus.Registry) {
	of := func(value func(s fuse.Stats) uint64) func() float64 {
		return func() (sum float64) {
			a.doors.each(func(door *fuse.Server) { sum += float64(value(door.Stats())) })
			return sum
		}
	}
	for kind := range (fuse.Stats{}).Requests() {
		count(reg, "kernel_requests_total", "What the kernel asked of the mounts, by kind.", prometheus.Labels{"kind": kind},
			of(func(s fuse.Stats) uint64 { return s.Requests()[kind] }))
	}
	gauge(reg, "kernel_open_files", "Files open through the mounts.", nil, of(func(s fuse.Stats) uint64 { return uint64(s.OpenFiles) }))
	gauge(reg, "kernel_passthrough", "1 while the kernel reads files by itself that are whole here.", nil, of(func(s fuse.Stats) uint64 {
		if s.Passthrough == fuse.PassthroughOn {
			return 1
		}
		return 0
	}))
	count(reg, "kernel_passthrough_opens_total", "Opened files whose reads the kernel serves by itself.", nil,
		of(func(s fuse.Stats) uint64 { return s.PassthroughOpens }))
	count(reg, "kernel_passthrough_refused_total", "Files that the kernel would not read by itself.", nil,
		of(func(s fuse.Stats) uint64 { return s.PassthroughRefused }))
}

func (a *Agent) meshMetrics(reg *prometheus.Registry) {
	gauge(reg, "members", "Live nodes this node knows of, itself among them.", nil, func() float64 {
		return float64(len(a.mesh.Members()))
	})
	count(reg, "fail_open_total", "Blocks filled without a lease because no home answered.", nil, func() float64 { return float64(a.where.Stats().FailOpen) })
	count(reg, "peer_sent_bytes_total", "Bytes served to peers.", nil, func() float64 { return float64(a.host.Stats().BytesOut) })
	count(reg, "peer_refused_total", "Connections refused because the caller is not a member.", nil,
		func() float64 { return float64(a.host.Stats().Refused) })
	count(reg, "ufs_stat_total", "Stat requests sent to UFSs.", nil, func() float64 { return float64(a.names.Stats().UFSStats) })
	count(reg, "stale_served_total", "Names served past their TTL because a UFS did not answer.", nil,
		func() float64 { return float64(a.names.Stats().StaleServed) })
	for i, m := range a.names.Mounts() {
		gauge(reg, "ufs_up", "1 while the UFS of a mount answers.", prometheus.Labels{"mount": m.Path}, func() float64 {
			if a.names.Mounts()[i].Down {
				return 0
			}
			return 1
		})
	}
	count(reg, "ufs_list_pages_total", "Listing pages read from UFSs.", nil, func() float64 { return float64(a.names.Stats().UFSListPages) })
}

// directoryMetrics tells of the node's part of the replica directory.
func directoryMetrics(reg *prometheus.Registry, stats func() replicas.Stats) {
	now := func(name, help string, labels prometheus.Labels, value func(s replicas.Stats) float64) {
		gauge(reg, "directory_"+name, help, labels, func() float64 { return value(stats()) })
	}
	total := func(name, help string, value func(s replicas.Stats) int) {
		count(reg, "directory_"+name+"_total", help, nil, func() float64 { return float64(value(stats())) })
	}
	now("entries", "Blocks this node is a home of.", nil, func(s replicas.Stats) float64 { return float64(s.Directory.Entries) })
	now("waiting", "Announcements of this node that a home has not acknowledged.", nil, func(s replicas.Stats) float64 { return float64(s.Waiting) })
	now("resigned", "Blocks this node asked its homes to let go, and has no answer yet.", nil, func(s replicas.Stats) float64 { return float64(s.Resigned) })
	const staleness = "How old a change of this node lately was when another node that is its home had acknowledged it."
	now("staleness_seconds", staleness, prometheus.Labels{"quantile": "0.5"}, func(s replicas.Stats) float64 { return s.StalenessP50 })
	now("staleness_seconds", staleness, prometheus.Labels{"quantile": "0.99"}, func(s replicas.Stats) float64 { return s.StalenessP99 })
	total("orders", "Orders given to holders: to be keeper or not, and the class.", func(s replicas.Stats) int { return s.Directory.Orders })
	total("moved", "Resignations that made another holder the keeper.", func(s replicas.Stats) int { return s.Directory.Moved })
	total("last_resigned", "Resignations from last replicas, which were let go.", func(s replicas.Stats) int { return s.Directory.LastResigned })
	total("pulled", "Records other homes handed over.", func(s replicas.Stats) int { return s.Directory.Pulled })
	total("differences", "Shards whose digests did not match what a holder has.", func(s replicas.Stats) int { return s.Directory.Differences })
	for i, sent := range stats().Sent {
		count(reg, "directory_sent_bytes_total", "Bytes of messages to homes and holders, by type.", prometheus.Labels{"type": sent.Type},
			func() float64 { return float64(stats().Sent[i].Bytes) })
	}
}

func count(reg *prometheus.Registry, name, help string, labels prometheus.Labels, value func() float64) {
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "shoal", Name: name, Help: help, ConstLabels: labels}, value))
}

func gauge(reg *prometheus.Registry, name, help string, labels prometheus.Labels, value func() float64) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "shoal", Name: name, Help: help, ConstLabels: labels}, value))
}
