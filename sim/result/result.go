// Package result holds what a simulation has found, in the form in which it is written: one
// JSON document of a stable schema.
//
// It holds values and how they are read, written and compared. Who counts is package sim; who
// draws is package report.
package result

// Schema names the form of the JSON. It changes when a field changes its meaning or goes.
const Schema = "shoal.sim/1"

// What else is written as JSON has a form of its own.
const (
	ComparisonSchema     = "shoal.sim.comparison/1"
	SweepSchema          = "shoal.sim.sweep/1"
	RecommendationSchema = "shoal.sim.recommendation/1"
)

// A Result is what one run has found.
type Result struct {
	Schema     string  `json:"schema"`
	Shoal      string  `json:"shoal"`       // the version of shoal that ran it
	Name       string  `json:"name"`        // of the scenario
	About      string  `json:"about"`       // what it asks
	Engine     string  `json:"engine"`      // "reads" or "time"
	Seed       uint64  `json:"seed"`        // of every random choice
	Hash       string  `json:"config_hash"` // of the scenario with its defaults: 16 hexadecimal digits
	Sample     float64 `json:"sample"`      // the share of blocks that was simulated; counts are of these
	Nodes      int     `json:"nodes"`
	Zones      int     `json:"zones"`
	CacheBytes int64   `json:"cache_bytes"` // of one node

	Seconds float64 `json:"seconds"` // of simulated time
	Events  int64   `json:"events"`  // that the engine processed

	Total Counts `json:"total"` // all reads
	Warm  Counts `json:"warm"`  // those after the warm-up

	Bound     Bound      `json:"bound"`
	Replicas  Replicas   `json:"replicas"` // at the end
	Evictions Evictions  `json:"evictions"`
	Directory Directory  `json:"directory"`
	Network   Network    `json:"network"`
	Jobs      []Job      `json:"jobs"`
	Datasets  []Dataset  `json:"datasets"`
	PerNode   []Node     `json:"per_node"` // at most 64 nodes; of more, those that are at quantiles of UFS bytes
	Intervals []Interval `json:"intervals"`
	Expect    []Verdict  `json:"expect"`
}

// Counts tells where reads were served from.
type Counts struct {
	Reads int64 `json:"reads"`
	Bytes int64 `json:"bytes"` // that readers got
	Tiers Tiers `json:"tiers"`
	// Amplification is bytes fetched from the UFS / distinct bytes read (policy.md §4.3); 1 is
	// what a fleet that fetches nothing twice has. 0 when nothing was read.
	Amplification float64 `json:"egress_amplification"`
}

// Tiers splits reads by where they were served from. Peer counts FarPeer in.
type Tiers struct {
	Local   Tier `json:"local"`
	Peer    Tier `json:"peer"`
	FarPeer Tier `json:"peer_other_zone"`
	UFS     Tier `json:"ufs"`
}

// A Tier is the reads that were served from one place.
type Tier struct {
	Reads     int64   `json:"reads"`
	Bytes     int64   `json:"bytes"`      // moved from there: a block that is fetched for a small read counts whole
	Share     float64 `json:"share"`      // of all reads
	ByteShare float64 `json:"byte_share"` // of the bytes that readers got, by where these were
}

// Bound is what no policy can beat, and how far the run was from it.
type Bound struct {
	Kind string `json:"kind"` // what bounds: "capacity/dataset per epoch", "most popular blocks", ...; "" when none is known
	// HitShare is the largest share of warm reads that can be served by the fleet.
	HitShare float64 `json:"hit_share"`
	// Distance is HitShare less the share that was.
	Distance float64 `json:"distance"`
	// Seconds is the least time a fan-out takes (policy.md §3.7, G12); 0 when there is none.
	Seconds float64 `json:"seconds"`
}

// Replicas is what is in the caches.
type Replicas struct {
	Blocks    int64            `json:"blocks"` // distinct ones
	Copies    int64            `json:"copies"`
	Bytes     int64            `json:"bytes"`
	Capacity  int64            `json:"capacity_bytes"`
	Surplus   float64          `json:"surplus_share"` // of Capacity in replicas that are not their block's keeper
	Histogram map[string]int64 `json:"histogram"`     // blocks by how many nodes hold them: "1", "2", "3-4", "5-8", ...
}

// Evictions is what went.
type Evictions struct {
	Evicted      int64   `json:"evicted"`
	Last         int64   `json:"last"`            // that were the last replica, and known to be
	LastLost     int64   `json:"last_lost"`       // last replicas lost to a race: none, if the keepers' protocol holds
	Crashed      int64   `json:"crashed"`         // last replicas that went with their node
	Moved        int64   `json:"moved"`           // keepers that handed over to another holder before they went
	Forwarded    int64   `json:"forwarded"`       // last replicas handed to a colder node
	Placed       int64   `json:"placed"`          // blocks placed on a node that did not read them
	Bypassed     int64   `json:"bypassed"`        // reads of blocks that nobody kept
	AgeP50       float64 `json:"age_p50_seconds"` // since they were read last, when they went
	AgeP99       float64 `json:"age_p99_seconds"`
	WrittenBytes int64   `json:"written_bytes"` // to all caches: wear
}

// Directory is what the directory cost. Bytes are estimated: messages by what one takes on the
// wire (docs/directory-traffic.md).
type Directory struct {
	Lookups    int64   `json:"lookups"`
	Deltas     int64   `json:"deltas"` // holders that came or went, told to both homes
	Orders     int64   `json:"orders"` // that told a holder what its replica is worth
	Resigned   int64   `json:"resigned"`
	Bytes      int64   `json:"bytes"`
	WrongHints int64   `json:"wrong_hints"` // lookups that named a node without the block
	StaleP50   float64 `json:"staleness_p50_seconds"`
	StaleP99   float64 `json:"staleness_p99_seconds"`
}

// Network is how busy links were. Bytes are of both engines, the rest of engine "time".
type Network struct {
	UFSBytes   int64   `json:"ufs_bytes"`
	PeerBytes  int64   `json:"peer_bytes"`
	ZoneBytes  int64   `json:"zone_bytes"`    // of PeerBytes, between zones
	OutP50     int64   `json:"out_p50_bytes"` // sent to peers, by node
	OutP99     int64   `json:"out_p99_bytes"`
	OutMax     int64   `json:"out_max_bytes"`
	UFSBusy    float64 `json:"ufs_busy"`    // mean use of its bandwidth, 0 to 1
	NICBusiest float64 `json:"nic_busiest"` // the same of the busiest interface
}

// A Job is what one job got.
type Job struct {
	Name      string    `json:"name"`
	Dataset   string    `json:"dataset"`
	Kind      string    `json:"kind"`
	Nodes     int       `json:"nodes"`
	Total     Counts    `json:"total"`
	Warm      Counts    `json:"warm"`
	Start     float64   `json:"start_seconds"`
	End       float64   `json:"end_seconds"`
	Done      bool      `json:"done"`            // it ended by itself
	Compute   float64   `json:"compute_seconds"` // mean of its ranks; engine "time", as are the next ones
	Stall     float64   `json:"stall_seconds"`   // that ranks waited for reads
	GPU       float64   `json:"gpu_utilisation"` // Compute / (Compute + Stall)
	ReadP50   float64   `json:"read_p50_seconds"`
	ReadP99   float64   `json:"read_p99_seconds"`
	Epochs    []Counts  `json:"epochs"` // one after the other; at most 100
	EpochEnds []float64 `json:"epoch_end_seconds"`
}

// A Dataset is what became of one dataset.
type Dataset struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`        // that it has
	Cached int64  `json:"cached_bytes"` // distinct ones, at the end
	Policy string `json:"policy"`
	Total  Counts `json:"total"`
	Warm   Counts `json:"warm"`
}

// A Node is what one node did.
type Node struct {
	Node      int    `json:"node"`
	Zone      int    `json:"zone"`
	Used      int64  `json:"used_bytes"`
	Total     Counts `json:"total"`
	SentBytes int64  `json:"sent_bytes"` // to peers
	Evicted   int64  `json:"evicted"`
}

// An Interval is what happened between two moments.
type Interval struct {
	Start float64 `json:"start_seconds"`
	End   float64 `json:"end_seconds"`
	Counts
	// Stall is the share of time that ranks waited for reads (engine "time").
	Stall float64 `json:"stall"`
	// Alive is how many nodes were serving at the end of it.
	Alive int `json:"alive"`
	// Surplus and Last are the copies in all caches at the end, by what they are.
	Copies int64 `json:"copies"`
	Blocks int64 `json:"blocks"`
}

// A Verdict is what became of an expectation.
type Verdict struct {
	Expect string  `json:"expect"` // as written
	Got    float64 `json:"got"`
	Holds  bool    `json:"holds"`
}
