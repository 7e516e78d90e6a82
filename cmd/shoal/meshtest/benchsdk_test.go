package meshtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs/s3/s3test"
)

// sdkEnv makes the test binary run the SDK's downloader: its value is an sdkSpec.
const sdkEnv = "SHOAL_TEST_SDK"

// An sdkSpec says what to download, and to which file.
type sdkSpec struct {
	Config s3test.Config
	Key    string
	File   string
}

// sdkMain downloads once and prints how many nanoseconds that took, without the start of
// the process.
func sdkMain(text string) int {
	err := func() error {
		var spec sdkSpec
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			return err
		}
		begun := time.Now()
		f, err := os.Create(spec.File)
		if err != nil {
			return err
		}
		if _, err := s3test.Download(context.Background(), spec.Config, spec.Key, f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		_, err = fmt.Println(time.Since(begun).Nanoseconds())
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// download has the SDK download the big file, from the node's namespace.
func (m *meshBench) download(b *testing.B, file string) sample {
	b.Helper()
	s3 := m.lab.s3
	spec, err := json.Marshal(sdkSpec{s3test.Config{
		Endpoint: s3.Endpoint, Region: s3.Region, Bucket: bucket, AccessKey: s3.AccessKey, SecretKey: s3.SecretKey,
	}, m.big.key, file})
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := m.lab.launch(b, "sdk", m.node.netns, []string{sdkEnv + "=" + string(spec)}, self)
	<-p.exited
	nanos, err := strconv.ParseInt(strings.TrimSpace(p.log.String()), 10, 64)
	if err != nil || !p.cmd.ProcessState.Success() {
		b.Fatalf("SDK download: %v\n%s", p.cmd.ProcessState, p.log)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != int64(m.big.size) {
		b.Fatalf("SDK download: %v, %v, want %d bytes", info, err, m.big.size)
	}
	return sample{time.Duration(nanos), p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()}
}

// setEndpoint has the node's mounts read from another S3 server.
func (n *labNode) setEndpoint(url string) {
	mounts, ok := n.config["namespace"].([]any)
	if !ok {
		panic("the lab's config has no namespace")
	}
	for _, m := range mounts {
		if m, ok := m.(map[string]any); ok {
			if s3, ok := m["s3"].(map[string]any); ok {
				s3["endpoint"] = url
			}
		}
	}
}

// agentCPU returns the CPU time the node's agent has used, 0 if none runs.
func (n *labNode) agentCPU(b *testing.B) time.Duration {
	b.Helper()
	if n.agent == nil || n.agent.ended() {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.agent.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	// Fields 14 and 15; the name, field 2, may hold anything but ends with the last ')'.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatalf("/proc/pid/stat %q: %v", text, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // the kernel's USER_HZ is 100
}
