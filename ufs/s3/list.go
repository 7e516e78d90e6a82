package s3

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

const (
	maxKeys   = 1000 // the most S3 lists at once
	maxProbes = 8    // requests for hidden directories at once
)

// List implements ufs.FS: one ListObjectsV2 for a page of up to 1000 entries, and
// seldom more than one of one key with it. A page may be shorter than limit.
//
// S3 lists by key, where a directory "a" is "a/": after "a-b", though "a" < "a-b". So
// the names of one listing S3 gives are sorted here, and what is missing among them can
// only be directories whose name is the beginning of the last key's: those are looked
// for. The resume point after is then good for S3 too: the keys of all names that sort
// after it sort after it, and of the others S3 repeats only such directories.
func (f *FS) List(ctx context.Context, name, after string, limit int) (ufs.Page, error) {
	if err := ufs.CheckName(name); err != nil {
		return ufs.Page{}, fmt.Errorf("list: %w", err)
	}
	if limit <= 0 {
		return ufs.Page{}, fmt.Errorf("list %q: limit %d: %w", name, limit, fs.ErrInvalid)
	}
	page, err := f.list(ctx, name, after, limit)
	if err != nil {
		return ufs.Page{}, f.wrap(ctx, "list", name, err)
	}
	return page, nil
}

func (f *FS) list(ctx context.Context, name, after string, limit int) (ufs.Page, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	prefix := f.prefix
	if name != "" {
		prefix = f.key(name) + "/"
	}
	l := &listing{prefix: prefix, after: after, entries: make(map[string]shoal.FileInfo)}
	if !utf8.ValidString(name) {
		return ufs.Page{}, &faultError{fs.ErrNotExist, "no key is like that", ""}
	}
	if err := f.fill(ctx, l, limit); err != nil {
		return ufs.Page{}, err
	}
	if !l.seen && name != "" {
		if err := f.mustExist(ctx, prefix, after); err != nil {
			return ufs.Page{}, err
		}
	}
	if l.truncated {
		if err := f.addHidden(ctx, l); err != nil {
			return ufs.Page{}, err
		}
	}
	if l.skipped > 0 {
		f.cfg.Logger.Debug("listing leaves out keys that are no names", "directory", name, "keys", l.skipped)
	}
	return l.page(limit), nil
}

// fill asks S3 until there is an entry, or there are no more.
func (f *FS) fill(ctx context.Context, l *listing, limit int) error {
	in := &awss3.ListObjectsV2Input{
		Bucket: &f.cfg.Bucket, Prefix: &l.prefix, Delimiter: aws.String("/"),
		MaxKeys: aws.Int32(int32(min(limit, maxKeys))), EncodingType: "url",
	}
	if from := startAfter(l.after); from != "" {
		in.StartAfter = aws.String(l.prefix + from)
	}
	for {
		out, err := f.client.ListObjectsV2(ctx, in)
		if err != nil {
			return err
		}
		if err := l.add(out); err != nil {
			return err
		}
		if len(l.entries) > 0 || !l.truncated {
			return nil
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

// mustExist returns fs.ErrNotExist if no key begins with prefix, when a listing that
// began after the name after found none.
func (f *FS) mustExist(ctx context.Context, prefix, after string) error {
	if after != "" {
		if found, err := f.anyKey(ctx, prefix); found || err != nil {
			return err
		}
	}
	return &faultError{fs.ErrNotExist, "no key begins with " + prefix, ""}
}

// addHidden looks for the directories that sort before the listing's last key by name,
// but after it by key.
func (f *FS) addHidden(ctx context.Context, l *listing) error {
	names := l.hidden() // nearly always none or one
	found := make([]bool, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxProbes)
	for i, name := range names {
		group.Go(func() (err error) {
			found[i], err = f.anyKey(ctx, l.prefix+name+"/")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		if found[i] {
			l.put(dirInfo(name))
		}
	}
	return nil
}

// A listing is the part of a directory S3 has listed. It decides; FS asks.
type listing struct {
	prefix string // of all its keys, ending with a slash unless empty
	after  string // only names after this one are wanted

	entries   map[string]shoal.FileInfo
	seen      bool   // any key was listed, wanted or not
	last      string // the last of them, without prefix
	truncated bool   // S3 has keys after last
	skipped   int    // keys that are no names
}

// add takes in an answer of S3.
func (l *listing) add(out *awss3.ListObjectsV2Output) error {
	decode := func(s *string) (string, error) { return aws.ToString(s), nil }
	if out.EncodingType == "url" {
		decode = func(s *string) (string, error) { return url.QueryUnescape(aws.ToString(s)) }
	}
	l.truncated = aws.ToBool(out.IsTruncated)
	l.seen = l.seen || len(out.Contents)+len(out.CommonPrefixes) > 0
	for _, object := range out.Contents {
		key, err := decode(object.Key)
		if err != nil {
			return fmt.Errorf("decode key: %w", err)
		}
		if name, ok := l.see(key); ok {
			l.put(fileInfo(name, aws.ToString(object.ETag), object.LastModified, aws.ToInt64(object.Size)))
		}
	}
	for _, common := range out.CommonPrefixes {
		key, err := decode(common.Prefix)
		if err != nil {
			return fmt.Errorf("decode prefix: %w", err)
		}
		if name, ok := l.see(strings.TrimSuffix(key, "/")); ok {
			l.put(dirInfo(name))
		}
		l.last = max(l.last, strings.TrimPrefix(key, l.prefix))
	}
	return nil
}

// see notes that there is a key and returns the name it stands for, if it is one that is
// wanted.
func (l *listing) see(key string) (name string, ok bool) {
	name, ok = strings.CutPrefix(key, l.prefix)
	if !ok {
		return "", false // nothing we asked for
	}
	l.last = max(l.last, name)
	if name == "" || strings.Contains(name, "/") || ufs.CheckName(name) != nil {
		l.skipped++
		return "", false
	}
	return name, name > l.after
}

// put adds an entry. Of a key and a directory of one name, an empty key gives way.
func (l *listing) put(info shoal.FileInfo) {
	if was, ok := l.entries[info.Name]; ok && (was.IsDir() || was.Size > 0) && (info.IsDir() || info.Size == 0) {
		return
	}
	l.entries[info.Name] = info
}

// hidden returns the names that may be directories S3 has not come to yet, though it has
// listed names after theirs: beginnings of the last name, before a byte that sorts
// before the slash. A file that is the last key may itself be one.
func (l *listing) hidden() []string {
	var names []string
	consider := func(name string) {
		was, ok := l.entries[name]
		settled := ok && (was.IsDir() || was.Size > 0)
		if name > l.after && !settled && ufs.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	last, isDir := strings.CutSuffix(l.last, "/")
	for i := 1; i < len(last); i++ {
		if last[i] < '/' && utf8.ValidString(last[:i]) {
			consider(last[:i])
		}
	}
	if !isDir {
		consider(last)
	}
	return names
}

// page returns the first entries in order of their names.
func (l *listing) page(limit int) ufs.Page {
	all := make([]shoal.FileInfo, 0, len(l.entries))
	for _, info := range l.entries {
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b shoal.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	more := l.truncated || len(all) > limit
	return ufs.Page{Entries: all[:min(limit, len(all))], More: more}
}

// startAfter returns what keys can be asked after for the names after after: the longest
// valid beginning of it, because keys are UTF-8 and names need not be.
func startAfter(after string) string {
	for i, r := range after {
		if r == utf8.RuneError && !strings.HasPrefix(after[i:], string(utf8.RuneError)) {
			return after[:i]
		}
	}
	return after
}
