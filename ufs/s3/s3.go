// Package s3 is the driver for an S3 bucket, or a prefix of one, as under file system
// (UFS). A key is a file, its ETag the file's version; the parts of keys between slashes
// make the directories.
//
// Where S3 has no answer of its own, this package decides:
//   - A name that is both a key and a prefix of keys is a directory if the key is empty,
//     as tools write it to mark one, and a file otherwise. The other is not reachable.
//   - Directories have no time of modification: it is given as 1970-01-01.
//   - Times are whole seconds, as HEAD gives them.
//   - Some servers have no ETag for some objects. The version of such a file is its size
//     and time, so two changes within one second may look like one.
//   - Keys that are no names, such as "a//b", "../a" and the marker "dir/", are left out
//     of listings.
//
// S3 lists keys in byte order; buckets that do not, such as S3 directory buckets, are
// not supported.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

var _ ufs.FS = (*FS)(nil)

// FS is a bucket, or a prefix of one, read.
type FS struct {
	cfg     Config
	prefix  string // "" or ending with a slash
	address string
	client  *awss3.Client
	http    *http.Client
	resumes *budget
	pulse   pulse
}

// New returns the driver for cfg.Bucket. It asks nothing of the bucket: see Check. The
// context is for finding the region and credentials, where cfg does not give them.
func New(ctx context.Context, cfg Config) (*FS, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("s3: config: %w", err)
	}
	f := &FS{cfg: cfg, resumes: newBudget(resumeBudget)}
	f.http = newHTTPClient(cfg, &f.pulse, f.resumes)
	if cfg.Prefix != "" {
		f.prefix = cfg.Prefix + "/"
	}
	f.address = address(cfg)
	if f.client, err = newClient(ctx, cfg, f.http); err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	return f, nil
}

// Close closes the connections no one uses. Streams in use go on.
func (f *FS) Close() error {
	f.http.CloseIdleConnections()
	return nil
}

// Address implements ufs.FS: "s3://bucket/prefix@host:port", without the last part on
// AWS itself.
func (f *FS) Address() string { return f.address }

// Check asks for the first key of the prefix and so learns whether the endpoint answers,
// the credentials are good and the bucket exists. Its error names the cause and the
// cure. An empty prefix is no error.
func (f *FS) Check(ctx context.Context) error {
	_, err := f.anyKey(ctx, f.prefix)
	if err == nil {
		return nil
	}
	err = f.wrap(ctx, "check", "", err)
	var fault *faultError
	if errors.As(err, &fault) && fault.cure != "" {
		return fmt.Errorf("%w (%s)", err, fault.cure)
	}
	return err
}

// Stat implements ufs.FS: one HEAD for a file, and for what may be a directory a listing
// of one key.
func (f *FS) Stat(ctx context.Context, name string) (shoal.FileInfo, error) {
	if err := ufs.CheckName(name); err != nil {
		return shoal.FileInfo{}, fmt.Errorf("stat: %w", err)
	}
	info, err := f.stat(ctx, name)
	if err != nil {
		return shoal.FileInfo{}, f.wrap(ctx, "stat", name, err)
	}
	return info, nil
}

func (f *FS) stat(ctx context.Context, name string) (shoal.FileInfo, error) {
	if name == "" {
		_, err := f.anyKey(ctx, f.prefix)
		return dirInfo(""), err
	}
	if !utf8.ValidString(name) {
		return shoal.FileInfo{}, &faultError{fs.ErrNotExist, "no key is like that", ""}
	}
	info, err := f.head(ctx, name)
	missing := err != nil && faultOf(err).kind == fs.ErrNotExist //nolint:errorlint // faultOf sets it
	if err != nil && !missing {
		return shoal.FileInfo{}, err
	}
	if !missing && info.Size > 0 {
		return info, nil
	}
	isDir, probeErr := f.anyKey(ctx, f.key(name)+"/")
	switch {
	case probeErr != nil:
		return shoal.FileInfo{}, probeErr
	case isDir:
		return dirInfo(name), nil
	}
	return info, err
}

// head describes the file name from its key alone.
func (f *FS) head(ctx context.Context, name string) (shoal.FileInfo, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	out, err := f.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &f.cfg.Bucket, Key: aws.String(f.key(name))})
	if err != nil {
		return shoal.FileInfo{}, err
	}
	return fileInfo(name, aws.ToString(out.ETag), out.LastModified, aws.ToInt64(out.ContentLength)), nil
}

// anyKey reports whether there is a key that begins with prefix.
func (f *FS) anyKey(ctx context.Context, prefix string) (bool, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	out, err := f.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{
		Bucket: &f.cfg.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(1), EncodingType: "url",
	})
	if err != nil {
		return false, err
	}
	return len(out.Contents)+len(out.CommonPrefixes) > 0, nil
}

// bound limits a call whose answer is small, with all its attempts.
func (f *FS) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, f.cfg.CallTimeout)
}

// key returns the key of a file.
func (f *FS) key(name string) string { return f.prefix + name }

// fileInfo describes a file by what HEAD and listings say of a key.
func fileInfo(name, etag string, modified *time.Time, size int64) shoal.FileInfo {
	at := aws.ToTime(modified).Truncate(time.Second).UTC()
	return shoal.FileInfo{
		Name: path.Base(name), Size: size, Mode: 0o644, ModTime: at, Version: versionOf(etag, at, size),
	}
}

func dirInfo(name string) shoal.FileInfo {
	if name != "" {
		name = path.Base(name)
	}
	return shoal.FileInfo{Name: name, Mode: fs.ModeDir | 0o755, ModTime: time.Unix(0, 0).UTC()}
}

// noETag begins the versions that are made of time and size. No ETag begins so.
const noETag = "~"

// versionOf returns the version of a key: its ETag, which some servers put in quotes and
// some, in listings, do not.
func versionOf(etag string, modified time.Time, size int64) shoal.Version {
	if len(etag) >= 2 && strings.HasPrefix(etag, `"`) && strings.HasSuffix(etag, `"`) {
		etag = etag[1 : len(etag)-1]
	}
	if etag == "" {
		return shoal.Version(fmt.Sprintf("%s%x-%x", noETag, modified.Unix(), size))
	}
	return shoal.Version(etag)
}
