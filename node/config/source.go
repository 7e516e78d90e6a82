package config

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// A Source is a Mount's UFS, taken apart: either a bucket or a directory.
type Source struct {
	// Bucket and Prefix name an S3 prefix. Prefix may be empty, and neither begins nor
	// ends with a slash.
	Bucket, Prefix string
	// Dir is a local directory, absolute and clean.
	Dir string
}

// Source takes m.UFS apart. The Mounts of a Config from Load or Parse have a Source.
func (m Mount) Source() (Source, error) {
	u, err := url.Parse(m.UFS)
	if err != nil || u.Scheme == "" {
		return Source{}, errors.New("not a UFS; write s3://bucket/prefix or file:///directory")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Source{}, errors.New("a UFS has no user, query or fragment; give S3 keys by s3.access_key_file and s3.secret_key_file")
	}
	switch u.Scheme {
	case "s3":
		if u.Host == "" {
			return Source{}, errors.New("no bucket; write s3://bucket/prefix")
		}
		return Source{Bucket: u.Host, Prefix: strings.Trim(path.Clean("/"+u.Path), "/")}, nil
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return Source{}, errors.New("the directory is not absolute; write file:///directory with three slashes")
		}
		return Source{Dir: path.Clean(u.Path)}, nil
	case "hdfs":
		return Source{}, errors.New("the HDFS driver is not in this version; use s3:// or file://")
	}
	return Source{}, errors.New("no driver for " + u.Scheme + "://; use s3:// or file://")
}

// PathStyle reports whether the bucket's name goes into the path of a request.
func (s S3) PathStyle() bool { return s.Addressing == "path" }
