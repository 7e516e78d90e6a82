package meshtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rcloneEnv names the environment variable that holds the path of the rclone binary.
// Without it rclone is looked for in PATH.
const rcloneEnv = "SHOAL_TEST_RCLONE_BIN"

// A rival is another program that mounts a bucket with a cache on disk.
type rival struct {
	name    string
	program string // in PATH, or its file
	// prepare writes the files it needs into home and returns its arguments: it is to
	// stay in the foreground, mount the bucket at home/mnt and cache in home/cache. The
	// options are those that docs/benchmarks.md gives reasons for.
	prepare func(m *meshBench, home string) (args []string, err error)
}

func rivals() []rival {
	rclone := os.Getenv(rcloneEnv)
	if rclone == "" {
		rclone = "rclone"
	}
	return []rival{{"s3fs", "s3fs", prepareS3FS}, {"rclone", rclone, prepareRclone}}
}

func prepareS3FS(m *meshBench, home string) ([]string, error) {
	s3, password := m.lab.s3, filepath.Join(home, "passwd")
	options := []string{
		"ro", "noatime", "url=" + s3.Endpoint, "endpoint=" + s3.Region, "use_path_request_style", "passwd_file=" + password,
		"use_cache=" + filepath.Join(home, "cache"), "listobjectsv2", "list_object_max_keys=1000", "multireq_max=64", "parallel_count=16",
		"max_stat_cache_size=1000000", "stat_cache_expire=86400", "enable_noobj_cache",
		"kernel_cache", "entry_timeout=86400", "attr_timeout=86400", "negative_timeout=86400",
	}
	err := os.WriteFile(password, []byte(s3.AccessKey+":"+s3.SecretKey+"\n"), 0o600)
	return []string{bucket, filepath.Join(home, "mnt"), "-f", "-o", strings.Join(options, ",")}, err
}

func prepareRclone(m *meshBench, home string) ([]string, error) {
	s3, config := m.lab.s3, filepath.Join(home, "rclone.conf")
	text := fmt.Sprintf("[lab]\ntype = s3\nprovider = Other\nendpoint = %s\nregion = %s\naccess_key_id = %s\nsecret_access_key = %s\n"+
		"force_path_style = true\nlist_version = 2\nno_check_bucket = true\n", s3.Endpoint, s3.Region, s3.AccessKey, s3.SecretKey)
	return []string{
		"mount", "lab:" + bucket, filepath.Join(home, "mnt"), "--config", config, "--read-only",
		"--cache-dir", filepath.Join(home, "cache"), "--vfs-cache-mode", "full", "--vfs-cache-max-age", "24h", "--vfs-cache-poll-interval", "1h",
		"--dir-cache-time", "24h", "--poll-interval", "0", "--attr-timeout", "24h", "--use-server-modtime", "--vfs-fast-fingerprint", "--no-checksum",
		"--vfs-read-chunk-size", "4M", "--vfs-read-chunk-streams", "16", "--vfs-read-ahead", "128M", "--max-read-ahead", "1M",
	}, os.WriteFile(config, []byte(text), 0o600)
}

// A match is the bucket seen by every side, and what has been measured of them.
type match struct {
	*meshBench
	sides    []side
	contests []contest
	versions []string        // of the rivals
	cached   map[string]bool // what they have on disk, by the key of the first of some objects
}

// rivals measures the disk, Shoal and each rival that is installed in the same rounds.
func (m *meshBench) rivals(b *testing.B) {
	if m.node.agent == nil || m.node.agent.ended() {
		m.node.start(b, 1)
	}
	t := &match{meshBench: m, sides: []side{{"disk", m.plain, nil}, {"Shoal", m.node.path(), m.node.agent}}, cached: map[string]bool{}}
	for _, r := range rivals() {
		t.enter(b, r)
	}
	if len(t.sides) == firstRival {
		b.Skip("neither s3fs nor rclone is installed: run `make bench-tools`")
	}
	for _, w := range []way{{"sequential", readSequential, false}, {"four readers", readByFour, false}} {
		b.Run("large/"+w.name, func(b *testing.B) { t.large(b, w) })
	}
	for _, threads := range []int{1, 8} {
		b.Run(fmt.Sprintf("small/page-cold/threads=%d", threads), func(b *testing.B) { t.smallFiles(b, threads, true) })
		b.Run(fmt.Sprintf("small/page-warm/threads=%d", threads), func(b *testing.B) { t.smallFiles(b, threads, false) })
	}
	b.Run("walk", t.walk)
	b.Run("loader", t.loader)
	if len(t.contests) > 0 {
		writeContests(os.Stdout, t.sides, t.contests, t.machine(b))
	}
}

// enter mounts the bucket by a rival, or says that it is not installed.
func (t *match) enter(b *testing.B, r rival) {
	b.Helper()
	program, err := exec.LookPath(r.program)
	if err != nil {
		fmt.Fprintf(os.Stderr, "SKIP: BenchmarkMesh/rivals: no %s (%v): run `make bench-tools`\n", r.name, err)
		return
	}
	home := filepath.Join(t.node.home, r.name)
	at := filepath.Join(home, "mnt")
	if err := errors.Join(os.MkdirAll(at, 0o700), os.MkdirAll(filepath.Join(home, "cache"), 0o700)); err != nil {
		b.Fatal(err)
	}
	args, err := r.prepare(t.meshBench, home)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { // runs when the daemon has been killed
		if _, ok := deviceOf(b, at); ok {
			t.lab.run(b, "umount", "-l", at)
		}
	})
	p := t.lab.launch(b, r.name, t.node.netns, nil, append([]string{program}, args...)...)
	device := ""
	t.lab.until(b, r.name+" has mounted the bucket", func() (ok bool) {
		if p.ended() {
			b.Fatalf("%s ended:\n%s", r.name, p.log)
		}
		device, ok = deviceOf(b, at)
		return ok
	})
	t.readAheadLikeOurs(b, device)
	t.sides = append(t.sides, side{r.name, at, p})
	t.versions = append(t.versions, version(b, r.name, program))
}

// readAheadLikeOurs has the kernel read as far ahead in a mount as it does in Shoal's, which
// the agent has asked for.
func (t *match) readAheadLikeOurs(b *testing.B, device string) {
	b.Helper()
	file := func(device string) string { return "/sys/class/bdi/" + device + "/read_ahead_kb" }
	ours, ok := deviceOf(b, t.node.mount)
	if !ok {
		b.Fatal("the agent has mounted nothing")
	}
	kib, err := os.ReadFile(file(ours))
	if err == nil {
		err = os.WriteFile(file(device), kib, 0)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// warm has every side's copy of the objects on disk: the plain one, Shoal's blocks, and
// what a rival has cached after a pass over all of them.
func (t *match) warm(b *testing.B, objects ...object) {
	b.Helper()
	t.copyPlain(b, objects...)
	t.fill(b, objects...)
	if t.cached[objects[0].key] {
		return
	}
	for _, s := range t.sides[firstRival:] {
		release := guard(s.daemon)
		for _, o := range objects {
			if err := readRange(filepath.Join(s.dir, o.key), 0, o.size); err != nil {
				b.Fatal(err)
			}
		}
		release()
	}
	t.cached[objects[0].key] = true
}

// trees returns the sides with the mounts that trees of small files are for: Shoal has one.
func (t *match) trees() []side {
	sides := slices.Clone(t.sides)
	sides[shoalSide].dir = t.node.smallPath()
	return sides
}

// hold measures a contest between sides and keeps it for the table.
func (t *match) hold(b *testing.B, sides []side, c contest) {
	b.Helper()
	if c.measure(b, t.node, sides); !b.Failed() {
		t.contests = append(t.contests, c)
	}
}

// large reads the big file.
func (t *match) large(b *testing.B, w way) {
	t.warm(b, t.big)
	t.passedThrough(b)
	t.hold(b, t.sides, contest{
		name: fmt.Sprintf("%d MiB, %s", t.big.size/mib, w.name), unit: "MB/s",
		work: float64(t.big.size) / 1e6, bytes: int64(t.big.size),
		sample: func(dir string) sample { return t.readLarge(b, w, filepath.Join(dir, t.big.key)) },
	})
}

// smallFiles opens, reads and closes all small files in random order.
func (t *match) smallFiles(b *testing.B, threads int, pageCold bool) {
	t.warm(b, t.small...)
	state := "page-cold"
	if !pageCold {
		state = "page-warm"
		for _, s := range t.trees() {
			t.shuffles++
			t.readSmall(b, s.dir, t.shuffles, threads)
		}
	}
	t.hold(b, t.trees(), contest{
		name: fmt.Sprintf("%d x 100 KB, %s, threads=%d", len(t.small), state, threads), unit: "files/s",
		work: float64(len(t.small)), bytes: total(t.small),
		sample: func(dir string) sample {
			if pageCold {
				t.prepare(b)
			}
			t.shuffles++
			return t.readSmall(b, dir, t.shuffles, threads)
		},
	})
}

// loader has eight processes read all small files for two epochs, the first page-cold.
func (t *match) loader(b *testing.B) {
	t.warm(b, t.small...)
	t.hold(b, t.trees(), contest{
		name: t.loaderName(), unit: "files/s", work: float64(2 * len(t.small)), bytes: 2 * total(t.small),
		sample: func(dir string) sample {
			t.prepare(b)
			return t.load(b, dir, 2, func(int) {})
		},
	})
}

// machine returns what the figures depend on, in a line.
func (t *match) machine(b *testing.B) string {
	b.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("Linux %s, %d cores, %s.", unix.ByteSliceToString(name.Release[:]), runtime.NumCPU(), strings.Join(t.versions, ", "))
}

// version returns the name of a rival and the version its program says it has.
func version(b *testing.B, name, program string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), program, "--version").Output()
	if err != nil {
		b.Fatalf("%s --version: %v", program, err)
	}
	return name + " " + string(regexp.MustCompile(`\d+\.\S+`).Find(out))
}

// deviceOf returns the device number, "major:minor", of what is mounted at a directory. It
// asks the kernel's list and not the mount, which may hang.
func deviceOf(b *testing.B, dir string) (device string, ok bool) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[4] == dir {
			device, ok = fields[2], true // the last one is on top
		}
	}
	return device, ok
}
