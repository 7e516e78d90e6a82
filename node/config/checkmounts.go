package config

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/shoal-mesh/shoal"
)

func (k *checker) disks(disks []Disk) {
	if len(disks) == 0 {
		k.refuse("cache", "", "no cache directory; write cache: [{path: /mnt/nvme0/shoal, size: 80%}]")
	}
	for i, d := range disks {
		key := fmt.Sprintf("cache[%d]", i)
		k.required(key+".path", d.Path)
		if d.Size.Percent == 0 && (d.Size.Bytes < minCache || d.Size.Bytes > maxCache) {
			k.refuse(key+".size", d.Size.String(), fmt.Sprintf("out of limits; give %v to %v, or 1%% to 95%%", minCache, maxCache))
		}
		for j, other := range disks[:i] {
			if within(d.Path, other.Path) || within(other.Path, d.Path) {
				k.refuse(key+".path", d.Path, fmt.Sprintf("overlaps cache[%d].path %q; give each disk a directory of its own", j, other.Path))
			}
		}
	}
}

func (k *checker) namespace(mounts []Mount) {
	if len(mounts) == 0 {
		k.refuse("namespace", "", `no mount; write namespace: [{path: /data, ufs: "s3://bucket/prefix"}]`)
	}
	for i, m := range mounts {
		key := fmt.Sprintf("namespace[%d]", i)
		k.required(key+".path", m.Path)
		for j, other := range mounts[:i] {
			if m.Path != "" && m.Path == other.Path {
				k.refuse(key+".path", m.Path, fmt.Sprintf("is the path of namespace[%d] too; give each mount its own", j))
			}
		}
		k.mount(key, m)
	}
}

func (k *checker) mount(key string, m Mount) {
	source, err := m.Source()
	switch {
	case m.UFS == "":
		k.refuse(key+".ufs", "", "required; write s3://bucket/prefix or file:///directory")
	case err != nil:
		k.refuse(key+".ufs", redacted(m.UFS), err.Error())
	case source.Bucket != "":
		k.s3(key+".s3", m.S3)
	case m.S3 != S3{}:
		k.refuse(key+".s3", m.UFS, "the UFS is a directory, not a bucket; remove s3")
	}
	k.oneOf(key+".policy", m.Policy, "auto", "uniform", "lru", "lfu", "sieve", "gdsf")
	k.replicas(key+".replicas", m.Replicas)
	switch {
	case m.Forward != 0 && (m.Forward < minForward || m.Forward > maxForward):
		k.refuse(key+".forward", m.Forward.String(), fmt.Sprintf("out of limits; give %v to %v, or 0 to hand nothing over", minForward, maxForward))
	case m.Forward != 0 && !m.Replicas.Classes:
		k.refuse(key+".forward", m.Forward.String(), "without replicas.classes no copy is known to be the last; leave forward out, or set classes to true")
	}
	if m.Quota != 0 && (m.Quota < minCache || m.Quota > maxCache) {
		k.refuse(key+".quota", m.Quota.String(), fmt.Sprintf("out of limits; give %v to %v, or 0 for none", minCache, maxCache))
	}
	if ttl := m.Metadata.TTL; ttl < 0 || ttl > maxAge {
		k.refuse(key+".metadata.ttl", short(ttl), "out of limits; give 0s to 8760h")
	}
	if stale := m.Metadata.MaxStale; stale < m.Metadata.TTL || stale > maxAge {
		k.refuse(key+".metadata.max_stale", short(stale), "out of limits; give metadata.ttl to 8760h")
	}
	k.only(key+".write", m.Write, "ro", "through", "back")
}

func (k *checker) replicas(key string, r Replicas) {
	if r.Min < 1 || r.Min > mostKept {
		k.refuse(key+".min", fmt.Sprint(r.Min), fmt.Sprintf("out of limits; give 1 to %d", mostKept))
	}
	switch {
	case r.Max != shoal.Unlimited && r.Max > mostCopies:
		k.refuse(key+".max", r.Max.String(), fmt.Sprintf("out of limits; give 1 to %d, or unlimited", mostCopies))
	case r.Max != shoal.Unlimited && int64(r.Max) < r.Min:
		k.refuse(key+".max", r.Max.String(), fmt.Sprintf("less than replicas.min; give at least %d", r.Min))
	}
}

func (k *checker) s3(key string, s S3) {
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		switch {
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			k.refuse(key+".endpoint", redacted(s.Endpoint), "not a URL; write http://host:port or https://host")
		case u.User != nil:
			k.refuse(key+".endpoint", u.Redacted(), "a URL with keys in it; give them by s3.access_key_file and s3.secret_key_file")
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			k.refuse(key+".endpoint", u.Scheme+"://"+u.Host+"/...", "more than a server; remove what follows the host, the bucket stands in ufs")
		}
	}
	k.oneOf(key+".addressing", s.Addressing, "path", "virtual")
	k.file(key+".access_key_file", s.AccessKeyFile)
	k.file(key+".secret_key_file", s.SecretKeyFile)
	if (s.AccessKeyFile == "") != (s.SecretKeyFile == "") {
		k.refuse(key+".access_key_file", s.AccessKeyFile, "one key file of two; give s3.access_key_file and s3.secret_key_file, or neither")
	}
}

// apart refuses directories that would read or fill themselves: the agent would wait
// for itself when it opens its own mount, and show its cache as data.
func (k *checker) apart(c *Config) {
	k.outside(c, "mount.path", c.Mount.Path)
	k.outside(c, "mount.small_files", c.Mount.SmallFiles)
	for i, m := range c.Namespace {
		source, err := m.Source()
		if err != nil || source.Dir == "" {
			continue
		}
		key := fmt.Sprintf("namespace[%d].ufs", i)
		for j, d := range c.Cache {
			if within(d.Path, source.Dir) || within(source.Dir, d.Path) {
				k.refuse(key, m.UFS, fmt.Sprintf("overlaps cache[%d].path %q; move one of them", j, d.Path))
			}
		}
	}
}

// outside refuses directories that overlap a mount point, given by its key, or lie within it.
func (k *checker) outside(c *Config, mount, at string) {
	if k.refused(mount) {
		return // it may overlap everything
	}
	for i, d := range c.Cache {
		if within(d.Path, at) || within(at, d.Path) {
			k.refuse(fmt.Sprintf("cache[%d].path", i), d.Path, fmt.Sprintf("overlaps %s %q; move one of them", mount, at))
		}
	}
	if within(c.State, at) {
		k.refuse("state", c.State, fmt.Sprintf("lies within %s %q; move one of them", mount, at))
	}
	if within(c.Trace.Path, at) {
		k.refuse("trace.path", c.Trace.Path, fmt.Sprintf("lies within %s %q; move one of them", mount, at))
	}
	for i, m := range c.Namespace {
		source, err := m.Source()
		if err == nil && (within(source.Dir, at) || within(at, source.Dir)) {
			k.refuse(fmt.Sprintf("namespace[%d].ufs", i), m.UFS, fmt.Sprintf("overlaps %s %q; move one of them", mount, at))
		}
	}
}

// required refuses a path that is missing, or as absolute does.
func (k *checker) required(key, value string) {
	if value == "" {
		k.refuse(key, "", "required; give an absolute path")
	}
	k.absolute(key, value)
}

// within reports whether the path inner is outer or lies below it. An empty path is
// nowhere.
func within(inner, outer string) bool {
	if inner == "" || outer == "" {
		return false
	}
	inner, outer = path.Clean(inner), path.Clean(outer)
	return inner == outer || outer == "/" || strings.HasPrefix(inner, outer+"/")
}

// redacted returns the URL s without a password.
func redacted(s string) string {
	u, err := url.Parse(s)
	switch {
	case err == nil:
		return u.Redacted()
	case strings.Contains(s, "@"):
		return "..." // what stands before the @ may be a password
	}
	return s
}
