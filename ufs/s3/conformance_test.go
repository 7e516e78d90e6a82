package s3_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/s3"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// fakeWriter writes below a prefix of a fake.
type fakeWriter struct {
	fake   *fake
	prefix string
}

func (w fakeWriter) Put(name string, data []byte) error { w.fake.put(w.prefix+name, data); return nil }

func (w fakeWriter) Mkdir(name string) error { w.fake.put(w.prefix+name+"/", nil); return nil }

func (w fakeWriter) Remove(name string) error { w.fake.remove(w.prefix + name); return nil }

func TestConformanceFake(t *testing.T) {
	for _, prefix := range []string{"", "data/set 1/"} {
		t.Run("prefix="+strings.Trim(prefix, "/"), func(t *testing.T) {
			ufstest.Conformance(t, ufstest.Harness{
				New: func(t *testing.T) (ufs.FS, ufstest.Writer) {
					fake, cfg := startFake(t)
					cfg.Prefix = prefix
					return newFS(t, cfg), fakeWriter{fake, prefix}
				},
				Names: []string{"new\nline", "bell\a"},
				Many:  1100, // S3 lists 1000 at once
			})
		})
	}
}

// serverWriter writes below a prefix of a real server's bucket.
type serverWriter struct {
	server *ufstest.Server
	prefix string
}

func (w serverWriter) Put(name string, data []byte) error {
	return w.server.Do("PUT", "shoal", w.prefix+name, data)
}

func (w serverWriter) Mkdir(name string) error {
	return w.server.Do("PUT", "shoal", w.prefix+name+"/", nil)
}

func (w serverWriter) Remove(name string) error {
	return w.server.Do("DELETE", "shoal", w.prefix+name, nil)
}

func TestConformanceServer(t *testing.T) {
	server := ufstest.StartS3(t, ufstest.S3Config{})
	var n atomic.Int32
	ufstest.Conformance(t, ufstest.Harness{
		New: func(t *testing.T) (ufs.FS, ufstest.Writer) {
			prefix := fmt.Sprintf("test/%d", n.Add(1))
			cfg := serverConfig(server)
			cfg.Prefix = prefix
			return newFS(t, cfg), serverWriter{server, prefix + "/"}
		},
		Many: 1100, // S3 lists 1000 at once
	})
}

func serverConfig(s *ufstest.Server) s3.Config {
	return s3.Config{
		Bucket: "shoal", Endpoint: s.Endpoint, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey,
	}
}
