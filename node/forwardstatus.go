package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal/blockstore"
)

// A ForwardStatus tells of last replicas that the node had to evict, of mounts that have such
// handed over.
type ForwardStatus struct {
	Blocks  uint64 `json:"blocks"`        // handed over: another node holds them
	Kept    uint64 `json:"kept"`          // stayed, as they were read meanwhile
	Leaving int64  `json:"leaving_bytes"` // on their way
	// Dropped are those that were not handed over, by the reason: "passes" (they had been handed
	// over twice since they were read), "frontier" (nobody would evict something clearly colder),
	// "refused" (by who was asked), "rate" (mount.forward), "queue" (enough are on their way),
	// "hurry" (a put waited for the room) or "late".
	Dropped map[string]uint64 `json:"dropped"`
}

// forwarding returns what the node has handed over so far.
func (a *Agent) forwarding() ForwardStatus {
	return forwardStatus(a.store.Stats().Forwards, a.leaving.Load())
}

// forwardStatus returns the status of what was handed over; f may be nil.
func forwardStatus(s blockstore.ForwardStats, f *forwarder) ForwardStatus {
	dropped := map[string]uint64{"passes": s.Passed, "queue": s.Full, "hurry": s.Hurried, "late": s.Late, "rate": 0, "frontier": 0, "refused": 0}
	if f != nil {
		dropped["rate"] += uint64(f.stats.rate.Load())
		dropped["frontier"] += uint64(f.stats.frontier.Load())
		dropped["queue"] += uint64(f.stats.queue.Load())
		dropped["refused"] += uint64(f.stats.refused.Load())
	}
	return ForwardStatus{Blocks: s.HandedOver, Kept: s.Kept, Leaving: s.LeavingBytes, Dropped: dropped}
}

// forwardMetrics tells of what the node has handed over.
func forwardMetrics(reg *prometheus.Registry, status func() ForwardStatus) {
	count(reg, "forwarded_blocks_total", "Last replicas that had to go, and were handed over to another node.", nil,
		func() float64 { return float64(status().Blocks) })
	count(reg, "forward_kept_blocks_total", "Blocks that stayed, as they were read while they were being handed over.", nil,
		func() float64 { return float64(status().Kept) })
	gauge(reg, "forward_leaving_bytes", "Bytes of replicas being handed over.", nil, func() float64 { return float64(status().Leaving) })
	for reason := range status().Dropped {
		count(reg, "not_forwarded_blocks_total", "Last replicas that had to go, and were dropped, by reason.", prometheus.Labels{"reason": reason},
			func() float64 { return float64(status().Dropped[reason]) })
	}
}
