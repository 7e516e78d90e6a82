package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// Open implements ufs.FS: one GET with Range and If-Match. A stream whose connection
// breaks or stalls goes on with another GET, from where it was, on the same condition.
func (f *FS) Open(ctx context.Context, name string, v shoal.Version, off, length int64) (io.ReadCloser, error) {
	if err := ufs.CheckName(name); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := ufs.CheckRange(off, length, math.MaxInt64); err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	body, err := f.open(ctx, name, v, off, length)
	if err != nil {
		return nil, f.wrap(ctx, "open", name, err)
	}
	return body, nil
}

func (f *FS) open(ctx context.Context, name string, v shoal.Version, off, length int64) (io.ReadCloser, error) {
	if name == "" || !utf8.ValidString(name) {
		return nil, &faultError{fs.ErrNotExist, "no key is like that", ""}
	}
	if v == "" {
		return nil, &faultError{ufs.ErrVersion, "no version asked for", ""}
	}
	if length == 0 { // S3 has no range for this
		return &stream{}, f.checkRange(ctx, name, v, off, length)
	}
	s := &stream{
		at: off, left: length, resumes: f.cfg.Resumes, budget: f.resumes,
		get: func(off, length int64, hurry bool) (io.ReadCloser, error) {
			return f.get(ctx, name, v, off, length, hurry)
		},
		done: ctx.Err,
		wrap: func(err error) error { return f.wrap(ctx, "read", name, err) },
		wait: func(n int) error { return sleep(ctx, backoff(n, f.cfg.MaxBackoff)) },
		note: func(at int64, cause error) {
			f.cfg.Logger.Warn("stream is resumed", "name", name, "ufs", f.address, "at", at, "cause", cause)
		},
	}
	var err error
	if s.part, err = s.get(off, length, s.hurries()); err != nil {
		return nil, err
	}
	return s, nil
}

// get asks for a range of name and checks that the answer is that range of version v. It
// waits for the answer to begin no longer than other calls for theirs to end; the bytes
// take as long as they take, if they do not stall, nor lag when in a hurry.
func (f *FS) get(ctx context.Context, name string, v shoal.Version, off, length int64, hurry bool) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	in := &awss3.GetObjectInput{
		Bucket: &f.cfg.Bucket, Key: aws.String(f.key(name)),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+length-1)),
	}
	if !strings.HasPrefix(string(v), noETag) {
		in.IfMatch = aws.String(ifMatch(v))
	}
	late := time.AfterFunc(f.cfg.CallTimeout, func() { cancel(errNoAnswer) })
	out, err := f.client.GetObject(ctx, in)
	if !late.Stop() && err == nil {
		_ = out.Body.Close() // cut already
		err = errNoAnswer
	}
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return nil, &faultError{
			ufs.ErrUnavailable, fmt.Sprintf("no answer within %v: %s", f.cfg.CallTimeout, root(err)),
			"the server fails or is overloaded: see its log, try again later",
		}
	}
	if err != nil {
		err = f.getFault(ctx, name, v, off, length, err)
		cancel(nil)
		return nil, err
	}
	if err := checkAnswer(out, v, off, length); err != nil {
		_ = out.Body.Close() // the error that matters is err
		cancel(nil)
		return nil, err
	}
	w := &watched{body: out.Body, watch: watch{limit: f.cfg.StallTimeout, pulse: &f.pulse, budget: f.resumes, cancel: cancel}}
	if hurry {
		w.watch.lag = f.cfg.LagTimeout
	}
	return w, nil
}

// getFault translates an error of GET. A server may look at the range before it looks
// at the condition, so a range it does not have is looked into.
func (f *FS) getFault(ctx context.Context, name string, v shoal.Version, off, length int64, err error) error {
	fault := faultOf(err)
	if fault.kind != errRange { //nolint:errorlint // faultOf sets it
		return fault
	}
	if err := f.checkRange(ctx, name, v, off, length); err != nil {
		return err
	}
	return fault // has the range now: someone is changing it
}

// checkRange asks whether name is of version v and has the range.
func (f *FS) checkRange(ctx context.Context, name string, v shoal.Version, off, length int64) error {
	info, err := f.head(ctx, name)
	if err != nil {
		return err
	}
	if info.Version != v {
		return &faultError{ufs.ErrVersion, fmt.Sprintf("version %q, not %q", info.Version, v), ""}
	}
	return rangeFault(off, length, info.Size)
}

// ifMatch returns the condition for version v.
func ifMatch(v shoal.Version) string {
	if strings.HasPrefix(string(v), "W/") {
		return string(v)
	}
	return `"` + string(v) + `"`
}

// checkAnswer does not take the server's word for the condition and the range. For a
// key without an ETag it is all there is: the answer's own time and size.
func checkAnswer(out *awss3.GetObjectOutput, v shoal.Version, off, length int64) error {
	first, size := int64(0), aws.ToInt64(out.ContentLength)
	if r := aws.ToString(out.ContentRange); r != "" {
		var last int64
		if _, err := fmt.Sscanf(r, "bytes %d-%d/%d", &first, &last, &size); err != nil {
			return &faultError{ufs.ErrUnavailable, fmt.Sprintf("answer has content range %q", r), "check that the endpoint is an S3 server's"}
		}
	}
	if got := versionOf(aws.ToString(out.ETag), aws.ToTime(out.LastModified), size); got != v {
		return &faultError{ufs.ErrVersion, fmt.Sprintf("version %q, not %q", got, v), ""}
	}
	if err := rangeFault(off, length, size); err != nil {
		return err
	}
	if first != off || aws.ToInt64(out.ContentLength) != length {
		return &faultError{
			ufs.ErrUnavailable, fmt.Sprintf("answer has %d bytes at %d, not %d at %d", aws.ToInt64(out.ContentLength), first, length, off),
			"check that the endpoint, and what is before it, serves ranges",
		}
	}
	return nil
}

// rangeFault is ufs.CheckRange in this package's words.
func rangeFault(off, length, size int64) error {
	if ufs.CheckRange(off, length, size) != nil {
		return &faultError{fs.ErrInvalid, fmt.Sprintf("range at %d of length %d in %d bytes", off, length, size), ""}
	}
	return nil
}

// sleep waits unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errNoAnswer is why a request is cut that got no answer in time.
var errNoAnswer = errors.New("no answer in time")
