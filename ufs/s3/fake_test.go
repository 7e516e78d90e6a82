package s3_test

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs/s3"
)

// fake is an S3 server for one bucket, "bkt", as far as the driver needs one. It lists
// by key as AWS does. It believes any signature.
type fake struct {
	// intercept, if set, sees each request first and reports whether it answered.
	intercept func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex // guards the fields below
	objects  map[string]object
	requests []string // method and key, or "LIST" and prefix
	puts     int
}

type object struct {
	data     []byte
	etag     string
	modified time.Time
}

type xmlObject struct {
	Key, ETag, LastModified string
	Size                    int
}

type xmlPrefix struct{ Prefix string }

type xmlList struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string
	KeyCount              int
	Contents              []xmlObject
	CommonPrefixes        []xmlPrefix
}

// startFake serves a fake and returns it with a driver's Config for it.
func startFake(t *testing.T) (*fake, s3.Config) {
	t.Helper()
	f := &fake{objects: make(map[string]object)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, s3.Config{
		Bucket: "bkt", Endpoint: server.URL, AccessKey: "key", SecretKey: "secret", MaxBackoff: time.Millisecond,
	}
}

func newFS(t *testing.T, cfg s3.Config) *s3.FS {
	t.Helper()
	f, err := s3.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (f *fake) put(key string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	etag := fmt.Sprintf(`"%x-%d"`, md5.Sum(data), f.puts) // each put another version, as multipart uploads may have
	f.objects[key] = object{data, etag, time.Unix(1_700_000_000+int64(f.puts), 0).UTC()}
}

func (f *fake) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, key)
}

// asked returns the requests since it was last called.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.requests
	f.requests = nil
	return was
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	isList := r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2"
	f.mu.Lock()
	if isList {
		f.requests = append(f.requests, "LIST "+r.URL.Query().Get("prefix"))
	} else {
		f.requests = append(f.requests, r.Method+" "+key)
	}
	o, ok := f.objects[key]
	f.mu.Unlock()
	switch {
	case f.intercept != nil && f.intercept(w, r):
	case bucket != "bkt":
		fail(w, http.StatusNotFound, "NoSuchBucket")
	case isList:
		f.list(w, r.URL.Query())
	case !ok:
		fail(w, http.StatusNotFound, "NoSuchKey")
	default:
		serve(w, r, o)
	}
}

// serve answers GET and HEAD of an object.
func serve(w http.ResponseWriter, r *http.Request, o object) {
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	if m := r.Header.Get("If-Match"); m != "" && m != o.etag {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("Last-Modified", o.modified.Format(http.TimeFormat))
	data, status := o.data, http.StatusOK
	if rng := r.Header.Get("Range"); rng != "" {
		var first, last int
		if _, err := fmt.Sscanf(rng, "bytes=%d-%d", &first, &last); err != nil || first >= len(data) {
			fail(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		last = min(last, len(data)-1)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(data)))
		data, status = data[first:last+1], http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}

// list answers ListObjectsV2. Its continuation token is the last key or prefix.
func (f *fake) list(w http.ResponseWriter, q url.Values) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, limit := max(q.Get("start-after"), q.Get("continuation-token")), 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		limit = min(n, 1000)
	}
	var keys []string
	for key := range f.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := xmlList{EncodingType: q.Get("encoding-type")}
	last := ""
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, q.Get("prefix"))
		i := strings.Index(rest, q.Get("delimiter"))
		if q.Get("delimiter") == "" {
			i = -1
		}
		common := q.Get("prefix") + rest[:i+1]
		switch {
		case !ok, key <= from, i >= 0 && (common == last || common == q.Get("continuation-token")):
			continue
		case out.KeyCount == limit:
			out.IsTruncated, out.NextContinuationToken = true, last
		case i >= 0:
			out.CommonPrefixes = append(out.CommonPrefixes, xmlPrefix{url.QueryEscape(common)})
			last = common
		default:
			o := f.objects[key]
			out.Contents = append(out.Contents, xmlObject{
				url.QueryEscape(key), o.etag, o.modified.Add(123 * time.Millisecond).Format("2006-01-02T15:04:05.000Z"), len(o.data),
			})
			last = key
		}
		if out.IsTruncated {
			break
		}
		out.KeyCount++
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out)
}

// fail answers as S3 does when something is wrong.
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said by the fake</Message></Error>", code)
}
