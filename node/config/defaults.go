package config

import (
	"path/filepath"
	"time"

	"github.com/shoal-mesh/shoal"
)

// defaultRegion is the region of an S3 mount that names none.
const defaultRegion = "us-east-1"

// Defaults returns what an empty file means. It is not a whole Config: a cache and a
// namespace have no default.
func Defaults() *Config {
	return &Config{
		Cluster: Cluster{Name: "shoal", Encryption: "tls"},
		Listen:  Listen{Gossip: ":7946", Peer: ":7947", Admin: "127.0.0.1:7948"},
		Scrub:   Scrub{Rate: 16 << 20, Pause: 24 * time.Hour},
		Mount:   FUSE{UID: -1, GID: -1, Passthrough: PassthroughAuto},
		Read:    Read{Readahead: 32 << 20, MaxInflight: 512 << 20},
		Trace:   Trace{Share: 0.01, MaxSize: 1 << 30},
		Admin:   Admin{Socket: "/run/shoal/admin.sock"},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// setDefaults gives a list's new element its defaults: what Defaults is for the rest.
func (d *Disk) setDefaults() { d.Size = Size{Percent: 80} }

func (m *Mount) setDefaults() {
	m.Policy = "auto"
	m.Write = "ro"
	m.Replicas = Replicas{Min: 1, Max: shoal.Unlimited, Classes: true}
	m.Metadata = Metadata{TTL: time.Minute, MaxStale: 24 * time.Hour}
}

// settle fills the defaults that depend on other fields. It runs after the file has
// been read, and again changes nothing.
func (c *Config) settle() {
	if c.State == "" && len(c.Cache) > 0 && c.Cache[0].Path != "" {
		c.State = filepath.Join(c.Cache[0].Path, "state")
	}
	for i := range c.Namespace {
		m := &c.Namespace[i]
		if source, err := m.Source(); err != nil || source.Bucket == "" {
			continue
		}
		if m.S3.Region == "" {
			m.S3.Region = defaultRegion
		}
		if m.S3.Addressing == "" {
			m.S3.Addressing = "virtual"
			if m.S3.Endpoint != "" {
				m.S3.Addressing = "path"
			}
		}
	}
}
