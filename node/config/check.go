package config

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-mesh/shoal"
)

// The limits of values; the comments of Config's fields repeat them for the reader.
const (
	minCache     shoal.Bytes = 16 << 20 // room for four blocks
	maxCache     shoal.Bytes = 1 << 50
	minScrub     shoal.Bytes = 64 << 10 // a 4 MiB block a minute
	maxScrub     shoal.Bytes = 16 << 30
	minPause                 = time.Minute
	minForward   shoal.Bytes = 64 << 10
	maxForward   shoal.Bytes = 16 << 30
	maxReadahead shoal.Bytes = 1 << 30
	minInflight  shoal.Bytes = 64 << 20
	maxInflight  shoal.Bytes = 64 << 30
	minTraces    shoal.Bytes = 16 << 20
	maxTraces    shoal.Bytes = 1 << 50
	minShare                 = 0.0001
	maxID                    = 1<<32 - 2 // the last user or group id; one more means "none"
	maxName                  = 63        // characters, so that a node's description fits a gossip message
	maxSocket                = 100       // bytes; the kernel takes 107
	maxAge                   = 365 * 24 * time.Hour
	mostKept                 = 3 // of replicas.min
	mostCopies               = 6 // of replicas.max
)

// A checker finds what is wrong with the values of a decoded Config.
type checker struct {
	*document
}

func newChecker(d *document) *checker { return &checker{document: d} }

// check reports every violation of c's limits to the document.
func (k *checker) check(c *Config) {
	k.cluster(c.Cluster)
	k.listen(c.Listen, c.Admin)
	k.disks(c.Cache)
	k.scrub(c.Scrub)
	k.absolute("state", c.State)
	k.fuse(c.Mount)
	k.namespace(c.Namespace)
	k.apart(c)
	k.read(c.Read)
	k.trace(c.Trace)
	k.admin(c.Admin)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
}

func (k *checker) cluster(c Cluster) {
	if c.Name == "" || len(c.Name) > maxName || strings.Trim(c.Name, nameCharacters) != "" {
		k.refuse("cluster.name", c.Name, "not a name; use 1 to 63 letters, digits, '.', '_' or '-'")
	}
	for i, address := range c.Join {
		key := fmt.Sprintf("cluster.join[%d]", i)
		if k.hostPort(key, address) && strings.HasPrefix(address, ":") {
			k.refuse(key, address, "no host; write host:7946")
		}
	}
	k.file("cluster.secret_file", c.SecretFile)
	if value, _ := k.getenv(SecretEnv); c.SecretFile == "" && value == "" {
		k.refuse("cluster.secret_file", "", "no secret, and "+SecretEnv+" is not set; give one of them, the same secret on every node")
	}
	k.short("cluster.zone", c.Zone)
	k.short("cluster.node_name", c.NodeName)
	k.only("cluster.encryption", c.Encryption, "tls", "none")
}

// nameCharacters are what a cluster's name is made of.
const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func (k *checker) scrub(s Scrub) {
	if s.Rate != 0 && (s.Rate < minScrub || s.Rate > maxScrub) {
		k.refuse("scrub.rate", s.Rate.String(), fmt.Sprintf("out of limits; give %v to %v, or 0 for no scrub", minScrub, maxScrub))
	}
	if s.Pause < minPause || s.Pause > maxAge {
		k.refuse("scrub.pause", short(s.Pause), "out of limits; give 1m to 8760h")
	}
}

func (k *checker) fuse(m FUSE) {
	k.mountPoint("mount.path", m.Path)
	k.mountPoint("mount.small_files", m.SmallFiles)
	if within(m.SmallFiles, m.Path) || within(m.Path, m.SmallFiles) {
		k.refuse("mount.small_files", m.SmallFiles, fmt.Sprintf("overlaps mount.path %q; name a directory beside it", m.Path))
	}
	k.between("mount.uid", m.UID, -1, maxID)
	k.between("mount.gid", m.GID, -1, maxID)
	if m.Passthrough != PassthroughAuto && m.Passthrough != PassthroughOff {
		k.refuse("mount.passthrough", m.Passthrough, fmt.Sprintf("give %q or %q", PassthroughAuto, PassthroughOff))
	}
}

func (k *checker) mountPoint(key, value string) {
	k.absolute(key, value)
	if value == "/" {
		k.refuse(key, value, "would hide the whole machine; name a directory")
	}
}

func (k *checker) read(r Read) {
	if r.Readahead < 0 || r.Readahead > maxReadahead {
		k.refuse("read.readahead", r.Readahead.String(), "out of limits; give 0 to "+maxReadahead.String())
	}
	if r.MaxInflight < minInflight || r.MaxInflight > maxInflight {
		k.refuse("read.max_inflight", r.MaxInflight.String(), fmt.Sprintf("out of limits; give %v to %v", minInflight, maxInflight))
	} else if r.MaxInflight < 2*r.Readahead {
		k.refuse("read.max_inflight", r.MaxInflight.String(), fmt.Sprintf("less than twice read.readahead; give at least %v", 2*r.Readahead))
	}
}

func (k *checker) trace(t Trace) {
	k.absolute("trace.path", t.Path)
	if !(t.Share >= minShare && t.Share <= 1) { // NaN is neither
		k.refuse("trace.share", strconv.FormatFloat(t.Share, 'g', -1, 64), fmt.Sprintf("out of limits; give %v to 1", minShare))
	}
	if t.MaxSize < minTraces || t.MaxSize > maxTraces {
		k.refuse("trace.max_size", t.MaxSize.String(), fmt.Sprintf("out of limits; give %v to %v", minTraces, maxTraces))
	}
}

func (k *checker) admin(a Admin) {
	k.absolute("admin.socket", a.Socket)
	if a.Socket == "" {
		k.refuse("admin.socket", "", "no path; leave the key out for the default")
	}
	if len(a.Socket) > maxSocket {
		k.refuse("admin.socket", a.Socket, fmt.Sprintf("too long for a socket; use at most %d bytes", maxSocket))
	}
	k.file("admin.token_file", a.TokenFile)
}

// absolute refuses a path that is not absolute or not in its shortest form.
func (k *checker) absolute(key, value string) {
	switch {
	case value == "":
	case !path.IsAbs(value):
		k.refuse(key, value, "not an absolute path; begin it with /")
	case path.Clean(value) != value:
		k.refuse(key, value, "not in its shortest form; write "+path.Clean(value))
	}
}

// file refuses a path of a secret's file as absolute does, but does not show what may
// be the secret itself.
func (k *checker) file(key, value string) {
	if value != "" && !path.IsAbs(value) {
		k.refuse(key, "...", "not an absolute path (and not shown, should it be the secret itself); begin it with /")
		return
	}
	k.absolute(key, value)
}

// short refuses a name that does not fit into a gossip message or on a line.
func (k *checker) short(key, value string) {
	if len(value) > maxName || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		k.refuse(key, value, fmt.Sprintf("not a name; use at most %d characters on one line", maxName))
	}
}

func (k *checker) between(key string, value, low, high int64) {
	if value < low || value > high {
		k.refuse(key, fmt.Sprint(value), fmt.Sprintf("out of limits; give %d to %d", low, high))
	}
}

func (k *checker) oneOf(key, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	k.refuse(key, value, "not one of its words; use "+strings.Join(words, ", "))
}

// only refuses every value but built, and by name those that are planned.
func (k *checker) only(key, value, built string, planned ...string) {
	if value == built {
		return
	}
	for _, p := range planned {
		if value == p {
			k.refuse(key, value, fmt.Sprintf("is not in this version; use %q, or leave the key out", built))
			return
		}
	}
	k.oneOf(key, value, built)
}
