package meshtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

const (
	fioFiles   = 1000
	fioFile    = 64 * kib
	fioReaders = 64
	fioReads   = 60 // of each reader
	fioBlock   = 16 * kib
	fioWrong   = 20 // files, one of them with a wrong byte
)

// TestFio has fio read 1,000 open files at random, in 64 processes, and verify every block it gets,
// while the cache has room for a quarter of them and evicts all the time. That fio would see a single
// wrong byte is shown with one.
func TestFio(t *testing.T) {
	l := newLab(t, 1)
	if _, err := exec.LookPath("fio"); err != nil {
		t.Skipf("SKIPPED, no reads are verified by fio: %v", err)
	}
	n := l.nodes[0]
	objects := l.uploadPattern(t)
	n.setCache("cache", 16*mib, map[string]any{"policy": "lru", "replicas": map[string]any{"classes": false}})
	l.startAll(t, "fio", fioFiles)

	for _, direct := range []string{"0", "1"} {
		dropCaches(t)
		before := n.status(t)
		out, err := fioRead(n.path("fio"), "--direct="+direct,
			fmt.Sprintf("--numjobs=%d", fioReaders), fmt.Sprintf("--io_size=%d", fioReads*fioBlock))
		if err != nil {
			t.Fatalf("fio: %v\n%s", err, out)
		}
		after := n.status(t)
		if read, want := fioBytes(t, out), int64(fioReaders*fioReads*fioBlock); read != want {
			t.Errorf("direct=%s: fio has verified %d bytes, want %d", direct, read, want)
		}
		evicted := after.Cache.Evictions - before.Cache.Evictions
		t.Logf("direct=%s: %d reads of the kernel, %d blocks evicted", direct, after.Kernel.Reads-before.Kernel.Reads, evicted)
		if evicted < fioFiles/2 {
			t.Errorf("direct=%s: %d blocks were evicted under the readers, want at least %d", direct, evicted, fioFiles/2)
		}
	}
	// fio takes the block of one file for that of another: whose bytes they are the sums tell.
	n.readAll(objects, 1, func() {}).mustBe(t, fioFiles)

	out, err := fioRead(n.path("wrong"))
	if err == nil || !strings.Contains(out, "verify failed at file "+n.path("wrong")) {
		t.Errorf("fio with one wrong byte: %v, want a failure:\n%s", err, out)
	}
}

// uploadPattern has fio write the files, each block with a checksum and its offset in it, and puts
// them into the bucket; the first few also into another directory, with one byte of one changed.
func (l *lab) uploadPattern(t *testing.T) []object {
	t.Helper()
	dir := filepath.Join(l.dir, "fio")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := fio("--directory="+dir, "--filename_format=v.$filenum", fmt.Sprintf("--nrfiles=%d", fioFiles),
		fmt.Sprintf("--size=%d", fioFiles*fioFile), "--rw=write", "--do_verify=0"); err != nil {
		t.Fatalf("fio: %v\n%s", err, out)
	}
	objects := make([]object, fioFiles)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range objects {
		g.Go(func() error {
			key := fmt.Sprintf("fio/v.%d", i)
			data, err := os.ReadFile(filepath.Join(l.dir, key))
			if err != nil {
				return err
			}
			objects[i] = object{key, len(data), xxh3.Hash(data)}
			if err := l.s3.Do(http.MethodPut, bucket, key, data); err != nil || i >= fioWrong {
				return err
			}
			if i == fioWrong/2 {
				data[fioFile/2+fioBlock/2] ^= 1
			}
			return l.s3.Do(http.MethodPut, bucket, fmt.Sprintf("wrong/v.%d", i), data)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("upload: %v", err)
	}
	return objects
}

// fioRead has fio read all files of dir at random, and verify every block, and returns what it said.
func fioRead(dir string, args ...string) (string, error) {
	return fio(append(args, "--opendir="+dir, "--rw=randread", "--file_service_type=random", "--verify_fatal=1")...)
}

// fio runs fio, and returns what it said.
func fio(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*command)
	defer cancel()
	args = append([]string{
		"--name=verify", fmt.Sprintf("--filesize=%d", fioFile), fmt.Sprintf("--bs=%d", fioBlock), "--verify=crc32c",
		"--ioengine=psync", "--randseed=6", "--group_reporting", "--output-format=json",
	}, args...)
	out, err := exec.CommandContext(ctx, "fio", args...).CombinedOutput()
	return string(out), err
}

// fioBytes returns how many bytes fio has read by its own account.
func fioBytes(t *testing.T, out string) (read int64) {
	t.Helper()
	var report struct {
		Jobs []struct {
			Read struct {
				Bytes int64 `json:"io_bytes"`
			} `json:"read"`
		} `json:"jobs"`
	}
	_, text, _ := strings.Cut(out, "{")
	if err := json.Unmarshal([]byte("{"+text), &report); err != nil {
		t.Fatalf("fio: %v\n%s", err, out)
	}
	for _, j := range report.Jobs {
		read += j.Read.Bytes
	}
	return read
}
