// Package config reads the one YAML file an agent is started with.
//
// Load parses the file strictly: a field that is not in Config is refused, and so is a
// value out of its limits, or one that asks for what this version does not do. Every
// violation is reported, not just the first: one line each, which names the place, the
// key, the value, the cause and the cure. "${NAME}" and "${NAME:-default}" in a value
// are replaced by environment variables first.
//
// Secrets are never written in the file. It names files that hold them, which are read
// when they are asked for (Config.Secret, Config.AdminToken, S3.Keys), so a Config can
// be printed as it is.
//
// This package only reads and checks. It opens no port, disk or bucket: node does.
package config

import (
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Config is what an agent is told, after defaults. Get one from Load or Parse: both
// check it, so that a Config's fields are within the limits written here.
type Config struct {
	// Cluster says which mesh the agent belongs to.
	Cluster Cluster `yaml:"cluster"`
	// Listen holds the addresses the agent serves at.
	Listen Listen `yaml:"listen"`
	// Cache lists the cache directories, one for each disk. At least one.
	Cache []Disk `yaml:"cache"`
	// Scrub says how blocks in the cache are verified in the background.
	Scrub Scrub `yaml:"scrub"`
	// State is the directory of what the agent keeps for itself: its identity and the
	// metadata of the namespace. Absolute. Default: the directory "state" in the first
	// cache directory, so that a node's identity lives as long as its cache.
	State string `yaml:"state"`
	// Mount is where the namespace is mounted on this machine.
	Mount FUSE `yaml:"mount"`
	// Namespace lists the mounts: which UFS is seen at which path. At least one; the
	// same on every node of the mesh.
	Namespace []Mount `yaml:"namespace"`
	// Read tunes the read path.
	Read Read `yaml:"read"`
	// Trace says whether what is read here is recorded.
	Trace Trace `yaml:"trace"`
	// Admin guards the admin API.
	Admin Admin `yaml:"admin"`
	// Log says what the agent writes to standard error.
	Log Log `yaml:"log"`
}

// Cluster says which mesh the agent belongs to.
type Cluster struct {
	// Name keeps meshes apart that can reach each other: agents of another name are not
	// joined. 1 to 63 letters, digits, '.', '_' or '-'. Default "shoal".
	Name string `yaml:"name"`
	// Join lists agents to ask for the way in, "host:port" of their gossip address. A
	// host with several addresses stands for all of them, and the agent's own address
	// may be among them. Default: none, which starts a mesh of its own.
	Join []string `yaml:"join"`
	// SecretFile is the file that holds the cluster's secret, the same on every node.
	// Absolute. Default: none; then the environment variable SHOAL_CLUSTER_SECRET must
	// hold it. If both are given the variable counts. See Config.Secret.
	SecretFile string `yaml:"secret_file"`
	// Zone names what fails together and is near: a rack, an availability zone. Nodes
	// prefer holders of their own zone. At most 63 characters. Default: none.
	Zone string `yaml:"zone"`
	// NodeName is what people call this node. At most 63 characters. It need not be
	// unique. Default "": the host name.
	NodeName string `yaml:"node_name"`
	// Encryption of what peers say to each other. "tls" (TLS 1.3) is the default and
	// all there is in this version.
	Encryption string `yaml:"encryption"`
}

// Listen holds the addresses an agent serves at, each "host:port". An empty host means
// every address of the machine; port 0 means any free port.
type Listen struct {
	// Gossip is the address, TCP and UDP, of the membership protocol. Default ":7946".
	Gossip string `yaml:"gossip"`
	// Peer is the TCP address peers read blocks from. Default ":7947".
	Peer string `yaml:"peer"`
	// Admin is the TCP address of the admin API and the metrics. Beyond the loopback
	// interface it needs admin.token_file. Default "127.0.0.1:7948"; "off" for none.
	Admin string `yaml:"admin"`
	// S3 would be the address of the S3 door, which is not in this version. Default "".
	S3 string `yaml:"s3"`
	// Advertise is the host, an IP address or a name, at which other nodes reach this
	// one, without a port. Default "": the address the machine reaches others from.
	Advertise string `yaml:"advertise"`
}

// AdminOff is the value of Listen.Admin that serves no admin API on TCP.
const AdminOff = "off"

// A Disk is one cache directory with its limit.
type Disk struct {
	// Path is the directory; it is made if it is missing. Absolute, and not within
	// another one, nor within a mount. Required.
	Path string `yaml:"path"`
	// Size is how much the cache may take: bytes ("2TiB", "512GB") or a share of the
	// file system's size ("80%"). 16MiB to 1PiB, 1% to 95%. Default "80%".
	Size Size `yaml:"size"`
}

// Scrub says how blocks in the cache are verified in the background, so that a bad one is
// found while another node has it.
type Scrub struct {
	// Rate is how much is read of each disk, per second. 64KiB to 16GiB, or 0: there is no
	// scrub. Default 16MiB, which is 1.3 TiB a day.
	Rate shoal.Bytes `yaml:"rate"`
	// Pause is the time between two passes. 1m to 8760h. Default 24h.
	Pause time.Duration `yaml:"pause"`
}

// FUSE says where, and for whom, the namespace is mounted on this machine.
type FUSE struct {
	// Path is the mount point; it is made if it is missing. Absolute. Default "": the
	// namespace is not mounted, and is read through the admin API only.
	Path string `yaml:"path"`
	// SmallFiles is a second mount point of the same namespace, for trees of small files: the
	// kernel opens files there without asking the agent, and reads none of them by itself
	// (Passthrough). Absolute. Default "": there is none. See docs/small-files.md.
	SmallFiles string `yaml:"small_files"`
	// AllowOther lets users other than the agent's read the mounts. Default false.
	AllowOther bool `yaml:"allow_other"`
	// UID is the user every file belongs to. -1 to 4294967294. Default -1: the agent's.
	UID int64 `yaml:"uid"`
	// GID is the group every file belongs to. -1 to 4294967294. Default -1: the agent's.
	GID int64 `yaml:"gid"`
	// Passthrough says whether the kernel may read files by itself that are longer than a block,
	// whole in one cache directory and verified: "auto", where it can (Linux 6.9 and newer, with
	// CAP_SYS_ADMIN), or "off". Default "auto".
	Passthrough string `yaml:"passthrough"`
}

// Paths returns the mount points there are to be.
func (m FUSE) Paths() []string {
	return slices.DeleteFunc([]string{m.Path, m.SmallFiles}, func(path string) bool { return path == "" })
}

// The values of FUSE.Passthrough.
const (
	PassthroughAuto = "auto"
	PassthroughOff  = "off"
)

// A Mount is one UFS prefix attached at one path of the namespace.
type Mount struct {
	// Path is where it is attached. Absolute, like "/imagenet"; two mounts cannot have
	// the same path, but one may lie within another. Required.
	Path string `yaml:"path"`
	// UFS is what is attached: "s3://bucket", "s3://bucket/prefix" or
	// "file:///directory". See Mount.Source. Required.
	UFS string `yaml:"ufs"`
	// S3 says how an s3:// UFS is reached. Only with an s3:// UFS.
	S3 S3 `yaml:"s3"`
	// Policy decides what stays in the cache when it is full: "uniform" (data read once per
	// epoch, in shuffled order: a stable part of it stays), "lru", "lfu", "sieve" or "gdsf".
	// Default "auto": sieve, until two epochs have been seen, then uniform.
	Policy string `yaml:"policy"`
	// Quota is how much of each node's cache its blocks may take. 16MiB to 1PiB, or 0: as
	// much as there is. Each disk has its share of it, by its size. Default 0.
	Quota shoal.Bytes `yaml:"quota"`
	// Replicas bounds the copies of a block in the mesh.
	Replicas Replicas `yaml:"replicas"`
	// Forward is how much per second each node may hand over to others of what it must evict and
	// nobody else has, instead of dropping it. Only with Replicas.Classes. 64KiB to 16GiB, or 0:
	// nothing is handed over. Default 0. See docs/eviction.md.
	Forward shoal.Bytes `yaml:"forward"`
	// Metadata says how long names and attributes are believed.
	Metadata Metadata `yaml:"metadata"`
	// Write says what writing does. "ro" (read-only) is the default and all there is in
	// this version.
	Write string `yaml:"write"`
}

// S3 says how an S3 server is reached.
type S3 struct {
	// Endpoint is the server's URL, "http://10.0.0.5:9000" or "https://host". Default
	// "": AWS, in Region.
	Endpoint string `yaml:"endpoint"`
	// Region is the bucket's region. Default "us-east-1".
	Region string `yaml:"region"`
	// Addressing says where requests carry the bucket's name: "path" or "virtual" (in
	// the host name). Default: "path" with an Endpoint, "virtual" without.
	Addressing string `yaml:"addressing"`
	// AccessKeyFile is the file that holds the access key id. Absolute; given together
	// with SecretKeyFile. Default "": the chain of the AWS tools (environment variables,
	// ~/.aws, the instance's role).
	AccessKeyFile string `yaml:"access_key_file"`
	// SecretKeyFile is the file that holds the secret access key. See AccessKeyFile.
	SecretKeyFile string `yaml:"secret_key_file"`
}

// Replicas bounds the copies of a block in the mesh.
type Replicas struct {
	// Min is how many copies, once they are there, are kept: in different zones where there
	// are. 1 to 3. Default 1.
	Min int64 `yaml:"min"`
	// Max is how many copies there may be; more go at once when room is wanted. 1 to 6, at
	// least Min, or "unlimited". Default "unlimited".
	Max shoal.Limit `yaml:"max"`
	// Classes says whether a copy that others have too is given up before a last one, and a
	// last one not without its home's consent. Without, each node evicts as if it were alone.
	// Default true.
	Classes bool `yaml:"classes"`
}

// Metadata says how long names and attributes are believed.
type Metadata struct {
	// TTL is how long an answer of the UFS is believed without asking again. 0s to
	// 8760h; 0s asks every time. Default 1m.
	TTL time.Duration `yaml:"ttl"`
	// MaxStale is how old an answer may be that is served while the UFS does not
	// answer. TTL to 8760h. Default 24h.
	MaxStale time.Duration `yaml:"max_stale"`
}

// Read tunes the read path of a node.
type Read struct {
	// Readahead is how far ahead of a sequential or strided reader blocks are fetched. 0 to 1GiB,
	// rounded up to whole blocks; 0 fetches nothing ahead. Default 32MiB.
	Readahead shoal.Bytes `yaml:"readahead"`
	// MaxInflight bounds the memory of blocks being fetched, for all readers of the
	// node. 64MiB to 64GiB, and at least twice Readahead. Default 512MiB.
	MaxInflight shoal.Bytes `yaml:"max_inflight"`
}

// Trace says whether what readers of this node are given is recorded, for `shoal sim`.
type Trace struct {
	// Path is the directory of the traces; it is made if it is missing. Absolute, and not
	// within the mount. Default "": nothing is recorded.
	Path string `yaml:"path"`
	// Share is the share of blocks whose reads are recorded, the same blocks on every node.
	// 0.0001 to 1. Default 0.01.
	Share float64 `yaml:"share"`
	// MaxSize is how much this node's traces may take: before they are more, the oldest are
	// removed. 16MiB to 1PiB. Default 1GiB.
	MaxSize shoal.Bytes `yaml:"max_size"`
}

// Admin guards the admin API, which listens on a unix socket always and on TCP at
// Listen.Admin.
type Admin struct {
	// Socket is the path of the unix socket, which only its owner may open. Absolute,
	// at most 100 bytes. Default "/run/shoal/admin.sock".
	Socket string `yaml:"socket"`
	// TokenFile is the file that holds the token callers on TCP must show for anything but
	// health and metrics. Absolute. Default "": those two are all that TCP serves.
	TokenFile string `yaml:"token_file"`
}

// Log says what the agent writes to standard error.
type Log struct {
	// Level is the least severe level written: "debug", "info", "warn" or "error".
	// Default "info".
	Level string `yaml:"level"`
	// Format is "text" or "json". Default "text".
	Format string `yaml:"format"`
}
