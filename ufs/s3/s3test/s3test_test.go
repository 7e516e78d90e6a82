package s3test_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-mesh/shoal/ufs/s3/s3test"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// TestDownload downloads objects of no, one and several parts from a real server.
func TestDownload(t *testing.T) {
	server := ufstest.StartS3(t, ufstest.S3Config{})
	cfg := s3test.Config{
		Endpoint: server.Endpoint, Region: server.Region, Bucket: "shoal",
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	}
	for _, size := range []int{0, 1, 8 << 20, 8<<20 + 1, 50 << 20} {
		want := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(want) // never fails
		server.Put(t, "shoal", "object", want)
		name := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s3test.Download(t.Context(), cfg, "object", f)
		if n != int64(size) || err != nil {
			t.Errorf("Download of %d bytes = %d, %v", size, n, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); !bytes.Equal(got, want) || err != nil {
			t.Errorf("Download of %d bytes: wrote %d bytes, %v, not the object's", size, len(got), err)
		}
	}
	if n, err := s3test.Download(t.Context(), cfg, "absent", nil); err == nil {
		t.Errorf("Download(absent) = %d, nil, want an error", n)
	}
}
