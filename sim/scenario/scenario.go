// Package scenario reads what a simulation is told: one YAML file.
//
// Load reads it strictly: a key that is not in Scenario is refused, and so is a value out of its
// limits, or what cannot be meant. Every violation is reported, not just the first: one line
// each, which names the place, the key, the value, the cause and the cure.
//
// A few scenarios come with the package (Ready), for people to begin with. This package only
// reads and checks: package workload makes reads of a scenario, package sim runs it.
package scenario

import (
	"time"

	"github.com/shoal-mesh/shoal"
)

// Version is the version of the format that this package reads.
const Version = 1

// A Scenario says what to simulate. Get one from Load or Parse, which fill in defaults and
// check it, so that its fields are within the limits written here.
type Scenario struct {
	// Version is that of the format: 1. Required.
	Version int `yaml:"version"`
	// Name is what reports call it. Required, at most 63 characters.
	Name string `yaml:"name"`
	// About says in a sentence what is asked. Default "".
	About string `yaml:"about"`
	// Engine is what simulates: "reads" counts where reads are served from, as if each took
	// no time; "time" has transfers share links, so that it tells how long jobs wait, and
	// takes longer. Default "reads".
	Engine Engine `yaml:"engine"`
	// Seed fixes every random choice: the same scenario and seed give the same report, byte
	// for byte. Default 1.
	Seed uint64 `yaml:"seed"`
	// Sample is the share of blocks that is simulated, in caches as much smaller (policy.md
	// §4.1). 0.0001 to 1. Default 1. Only engine "reads" takes less than 1.
	Sample float64 `yaml:"sample"`
	// Duration ends the simulation. Up to 8760h. Default 0s: when all jobs have ended.
	Duration time.Duration `yaml:"duration"`
	// Warmup is what is left out of the ratios called warm, besides the warm-up epochs of
	// each job. 0s to Duration, if there is one. Default 0s.
	Warmup time.Duration `yaml:"warmup"`
	// Interval is the time between two points of the report's curves. 1ms to 8760h. Default
	// 0s: about a hundred points.
	Interval time.Duration `yaml:"interval"`
	// Fleet are the nodes and what connects them.
	Fleet Fleet `yaml:"fleet"`
	// Datasets are what is read. At least one, but for jobs of kind trace.
	Datasets []Dataset `yaml:"datasets"`
	// Jobs are who reads. At least one.
	Jobs []Job `yaml:"jobs"`
	// Events are what happens to nodes.
	Events []Event `yaml:"events"`
	// Expect are assertions on the result, like "ufs.share < 0.01". If one does not hold,
	// shoal sim run exits with code 3.
	Expect []Expectation `yaml:"expect"`
}

// An Engine is a way of simulating.
type Engine string

// The engines.
const (
	Reads Engine = "reads" // engine A of policy.md §4.1: logical time
	Time  Engine = "time"  // engine B: events and bandwidth
)

// Fleet are the nodes and what connects them. Bandwidths count in engine "time" only, and are
// above 0 unless it says otherwise.
type Fleet struct {
	// Nodes is how many there are. 1 to 60,000. Required.
	Nodes int `yaml:"nodes"`
	// Cache is how much each node's cache holds. At least a block of each dataset, without
	// what is kept free and of what is sampled, up to 1PiB. Required.
	Cache shoal.Bytes `yaml:"cache"`
	// Spare is the share of the cache that agents keep free, so that no read waits for
	// room. 0 to 0.5. Default 0.
	Spare float64 `yaml:"spare"`
	// Zones is how many zones there are, of about as many nodes each: the first ones are of
	// zone 0, and so on. 1 to Nodes, at most 1,000. Default 1.
	Zones int `yaml:"zones"`
	// Directory is how long news takes to a block's home, and as long again to a holder.
	// 0s to 1h. Default 100ms.
	Directory time.Duration `yaml:"directory"`
	// Detect is how long a dead node is not known to be. 0s to 1h. Default 6s.
	Detect time.Duration `yaml:"detect"`
	// Costs are what reads cost where one from the UFS costs 1 (policy.md §5.1).
	Costs Costs `yaml:"costs"`
	// Epsilon is by which share a new block must be worth more than the one it displaces. 0.001
	// to 1. Default 0.05.
	Epsilon float64 `yaml:"epsilon"`
	// NIC is the bandwidth of a node's network interface, each way. Default 25Gb/s.
	NIC Rate `yaml:"nic"`
	// ZoneLink is the bandwidth of what connects a zone with the others, each way. Default
	// 0: nothing but the interfaces bounds it.
	ZoneLink Rate `yaml:"zone_link"`
	// NVMe is the bandwidth of a node's cache.
	NVMe NVMe `yaml:"nvme"`
	// UFS is the link to remote storage that all nodes share.
	UFS UFS `yaml:"ufs"`
	// Slow are nodes whose interface and cache have a share only of their bandwidth.
	Slow []Slow `yaml:"slow"`
}

// Costs are what reads cost where one from the UFS costs 1.
type Costs struct {
	// Peer is a read from a node of the zone. 0.02 to 0.8. Default 0.1.
	Peer float64 `yaml:"peer"`
	// Zone is a read from a node of another zone. Peer to 0.8. Default 0.3, at least Peer.
	Zone float64 `yaml:"zone"`
}

// NVMe is the bandwidth of a node's cache.
type NVMe struct {
	// Read is what can be read. Default 3GB/s.
	Read Rate `yaml:"read"`
	// Write is what can be written. Default 1.5GB/s.
	Write Rate `yaml:"write"`
}

// UFS is the link to remote storage that all nodes share.
type UFS struct {
	// Bandwidth is what it carries, each way. Default 10GB/s.
	Bandwidth Rate `yaml:"bandwidth"`
	// Latency is the time to the first byte. 0s to 1m. Default 20ms.
	Latency time.Duration `yaml:"latency"`
	// Requests is how many it takes per second. Up to 1e9. Default 0: any number.
	Requests float64 `yaml:"requests"`
}

// Slow are nodes with a share only of their bandwidth.
type Slow struct {
	// Nodes are which, each but once in the list. Required.
	Nodes Nodes `yaml:"nodes"`
	// Share is what is left. Above 0, to 1. Required.
	Share float64 `yaml:"share"`
}

// A Dataset is a set of files that are read, evicted and counted together: a mount of an
// agent's config.
type Dataset struct {
	// Name is what jobs and reports call it: 1 to 63 letters, digits, '.', '_', '-', '/'.
	// Required.
	Name string `yaml:"name"`
	// Files is how many there are. 1 or more, of at most 4,294,967,294 blocks in all
	// datasets, those of every version counted. Required.
	Files int64 `yaml:"files"`
	// File is the size of each; blocks are 4 MiB, as the agents'. 1B to 1PiB. Required.
	File shoal.Bytes `yaml:"file"`
	// FileMax has files be of all sizes from File to FileMax alike. File to 4MiB. Default 0B:
	// all are of size File.
	FileMax shoal.Bytes `yaml:"file_max"`
	// Read is how much one read takes: of a block that nobody will keep only that is
	// fetched. 1B to 4MiB, at most File. Default 0B: the whole block.
	Read shoal.Bytes `yaml:"read"`
	// Forward is not simulated yet: recommend passes it on to the config it prints.
	// Policy, Quota, Replicas and Forward are as in an agent's config (docs/configuration.md),
	// but for Quota, which is a block or more, of what is sampled.
	Policy   string      `yaml:"policy"`
	Quota    shoal.Bytes `yaml:"quota"`
	Replicas Replicas    `yaml:"replicas"`
	Forward  shoal.Bytes `yaml:"forward"`
	// HalfLife is how long its read rate takes to halve once nobody reads. 1s to 8760h.
	// Default 10m.
	HalfLife time.Duration `yaml:"half_life"`
}

// Replicas bounds the copies of a block in the mesh, as in an agent's config.
type Replicas struct {
	// Min is how many are kept. 1 to 3. Default 1.
	Min int64 `yaml:"min"`
	// Max is how many there may be. 1 to 6, at least Min, or "unlimited". Default
	// "unlimited".
	Max shoal.Limit `yaml:"max"`
	// Classes says whether replicas that others have too go first. Default true.
	Classes bool `yaml:"classes"`
}

// A Job reads a dataset. The fields that name kinds are of these alone: given for another kind
// they are refused, and they are zero there.
type Job struct {
	// Name is what reports call it, of the characters of a dataset's name. Default: the
	// dataset's name, and a number if it is not the first of it ("imagenet-2").
	Name string `yaml:"name"`
	// Kind is how it reads. Required.
	Kind Kind `yaml:"kind"`
	// Dataset is what it reads. Required but for kind trace.
	Dataset string `yaml:"dataset"`
	// Nodes are where it runs. Default: all.
	Nodes Nodes `yaml:"nodes"`
	// Ranks is how many readers it has on each of its nodes. 1 to 256. Default 1.
	Ranks int `yaml:"ranks"`
	// Start is when it begins. Before Duration, if there is one, and up to 8760h. Default 0s.
	Start time.Duration `yaml:"start"`
	// Jitter is how much later than Start each rank begins, at most. Up to 8760h. Default 0s.
	Jitter time.Duration `yaml:"jitter"`
	// Rate is how many reads per second a rank would make if none took time: what it can
	// compute (f*). Above 0, to 1e9. Default 100. A rank of kind write writes Rate blocks per
	// second.
	Rate float64 `yaml:"rate"`
	// Prefetch is how many reads a rank has under way beyond the one it waits for (engine
	// "time"). 0 to 1,024. Default 16.
	Prefetch int `yaml:"prefetch"`
	// Step is after how many reads of each the ranks wait for one another, as they do when
	// gradients are summed (engine "time"). 0, never, to 1e9. Default 0.
	Step int `yaml:"step"`

	// Epochs is how often the dataset is read (epochs, windows). 1 to 100,000. Default 3.
	Epochs int `yaml:"epochs"`
	// WarmupEpochs of these are left out of warm ratios. 0 to Epochs. Default 1, or 0 if there
	// is but one.
	WarmupEpochs int `yaml:"warmup_epochs"`
	// Shared says whether the ranks share each epoch, as with PyTorch's DistributedSampler:
	// else each reads all of it (epochs, windows). Default true.
	Shared bool `yaml:"shared"`
	// Window is how many files a rank reads at a time, in turns (windows). 1 to 4,096. Default
	// 8.
	Window int `yaml:"window"`

	// Versions is how many contents its files have, one after the other: a new one comes each
	// Every (stream, write). 1 to 10,000. Default 1.
	Versions int `yaml:"versions"`
	// Every is the time between two versions (stream, write). Up to 8760h. Required if there
	// are more than one.
	Every time.Duration `yaml:"every"`
	// Random has each rank read the blocks of a file in an order of its own (stream). Default
	// false.
	Random bool `yaml:"random"`

	// Reads is how many reads each rank makes (zipf). 1 to 1e12. Required there.
	Reads int64 `yaml:"reads"`
	// Skew is the exponent of Zipf's law: the i-th most popular file is read as often as 1/i^Skew
	// (zipf). 0, all alike, to 3. Default 1.
	Skew float64 `yaml:"skew"`
	// Drift is how many files per second take the place of another in the order of popularity
	// (zipf). 0 to 1e9. Default 0.
	Drift float64 `yaml:"drift"`

	// Trace is the file to replay, and Format how it is written: see shoal sim trace (trace).
	Trace  string `yaml:"trace"`
	Format string `yaml:"format"`
}

// A Kind is how a job reads.
type Kind string

// The kinds of jobs.
const (
	Epochs  Kind = "epochs"  // every file once per epoch, in a new order each time
	Windows Kind = "windows" // shards: files in a new order each epoch, each read from its beginning, several at a time
	Stream  Kind = "stream"  // every rank reads all files from the first to the last, once per version
	Zipf    Kind = "zipf"    // files independently of one another, some more often than others
	Write   Kind = "write"   // files are written, through the cache to the UFS, once per version
	Trace   Kind = "trace"   // what a trace says
)

// An Event is something that happens to nodes. Exactly one of Crash, Restart, Drain and
// Rolling is given.
type Event struct {
	// At is when: not before the event above, nor after Duration, if there is one. Up to
	// 8760h. Required but for Rolling, whose first node goes then: default 0s.
	At time.Duration `yaml:"at"`
	// Crash stops nodes without a word. Their caches stay on their disks.
	Crash Nodes `yaml:"crash"`
	// Restart brings nodes back that crashed or drained, with what was in their caches, or
	// with Empty, without.
	Restart Nodes `yaml:"restart"`
	// Empty: see Restart. Default false.
	Empty bool `yaml:"empty"`
	// Drain has nodes leave in good order: last replicas of theirs move to others.
	Drain Nodes `yaml:"drain"`
	// Rolling restarts nodes one after the other: one goes each Every, and is back after Down.
	Rolling Nodes `yaml:"rolling"`
	// Every is the time from one node to the next. Up to 8760h. Required with Rolling.
	Every time.Duration `yaml:"every"`
	// Down is for how long each is away. Up to 8760h. Required with Rolling.
	Down time.Duration `yaml:"down"`
}
