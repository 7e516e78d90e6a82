package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node"
	"github.com/shoal-mesh/shoal/node/config"
)

// A finding is the outcome of one check of the doctor.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warn or fail
	Detail string `json:"detail"`
	Cure   string `json:"cure,omitempty"`
}

func doctorCmd() *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use: "doctor [--config FILE]", Short: "Check kernel, FUSE, disks, ports, credentials and clock", Args: cobra.NoArgs,
		Long: `Check what an agent needs of this machine and, with a config file, of its disks, ports,
secrets and under file systems. It changes nothing. Exit code 1 when a check fails.`,
		RunE: func(c *cobra.Command, _ []string) error {
			found := machineFindings()
			if file != "" {
				found = append(found, configFindings(c.Context(), file)...)
			}
			if err := output(c, asJSON, found, printFindings); err != nil {
				return err
			}
			for _, f := range found {
				if f.Result == "fail" {
					return fmt.Errorf("doctor: %s: %s", f.Check, f.Detail)
				}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", os.Getenv("SHOAL_CONFIG"), "also check what this config file needs")
	jsonFlag(c, &asJSON)
	return c
}

func printFindings(w io.Writer, found []finding) {
	table(w, func(row func(...any)) {
		for _, f := range found {
			detail := f.Detail
			if f.Cure != "" {
				detail += ": " + f.Cure
			}
			row(f.Result, f.Check, detail)
		}
	})
}

// findingOf makes a finding of an error: ok without one.
func findingOf(check, detail string, err error, bad, cure string) finding {
	if err != nil {
		return finding{check, bad, err.Error(), cure}
	}
	return finding{check, "ok", detail, ""}
}

// machineFindings checks what every agent needs.
func machineFindings() []finding {
	found := []finding{kernelFinding(), fuseFinding(), passthroughFinding(), clockFinding()}
	var files unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	if err == nil && files.Max < 8192 {
		err = fmt.Errorf("at most %d open files", files.Max)
	}
	found = append(found, findingOf("open files", fmt.Sprint(files.Max), err, "warn", "raise the hard limit to 8192 or more"))
	pages, err := os.ReadFile("/proc/sys/fs/fuse/max_pages_limit")
	detail := "default, 1 MiB requests"
	if err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(pages)), 10, 64); err == nil {
			detail = bytes(n*int64(os.Getpagesize())) + " requests"
		}
	}
	return append(found, finding{"fuse request size", "ok", detail, ""})
}

func kernelFinding() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return findingOf("kernel", "", err, "warn", "")
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return finding{"kernel", "warn", release, "cannot tell its version"}
	}
	if major < 5 || major == 5 && minor < 4 {
		return finding{"kernel", "warn", release, "older than any kernel this was tested on; use 5.4 or newer"}
	}
	return finding{"kernel", "ok", release, ""}
}

func fuseFinding() finding {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return findingOf("fuse", "", err, "fail", "load the fuse module and let this user open /dev/fuse; in a container, pass the device in")
	}
	if err := f.Close(); err != nil {
		return findingOf("fuse", "", err, "warn", "")
	}
	if os.Geteuid() == 0 {
		return finding{"fuse", "ok", "/dev/fuse, as root", ""}
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return finding{"fuse", "fail", "not root and no fusermount3", "run as root or install fuse3"}
	}
	return finding{"fuse", "ok", "/dev/fuse, by fusermount3", ""}
}

// passthroughFinding tells whether the kernel may read files of the cache by itself.
func passthroughFinding() finding {
	const admin = 21 // CAP_SYS_ADMIN
	var u unix.Utsname
	var major, minor int
	err := unix.Uname(&u)
	if err == nil {
		_, err = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	var caps [2]unix.CapUserData
	if err == nil {
		err = unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0])
	}
	switch {
	case err != nil:
		return findingOf("passthrough", "", err, "warn", "")
	case major < 6 || major == 6 && minor < 9:
		return finding{"passthrough", "warn", "the kernel cannot read whole files by itself: reads go through the agent", "use Linux 6.9 or newer"}
	case caps[0].Effective&(1<<admin) == 0:
		return finding{"passthrough", "warn", "without CAP_SYS_ADMIN reads go through the agent", "run the agent as root, the container privileged"}
	}
	return finding{"passthrough", "ok", "the kernel reads files by itself that are whole here", ""}
}

func clockFinding() finding {
	state, err := unix.Adjtimex(&unix.Timex{})
	if err == nil && state == unix.TIME_ERROR {
		err = errors.New("not synchronised")
	}
	return findingOf("clock", "synchronised "+time.Now().UTC().Format(time.RFC3339), err, "warn", "run an NTP client: S3 refuses requests that are 15 minutes off")
}

// configFindings checks what the config file needs.
func configFindings(ctx context.Context, file string) []finding {
	cfg, err := config.Load(file)
	if err != nil {
		return []finding{findingOf("config", "", err, "fail", "docs/configuration.md describes every field")}
	}
	found := []finding{{"config", "ok", file, ""}}
	_, err = cfg.Secret(os.LookupEnv)
	found = append(found, findingOf("secret", "readable", err, "fail", ""))
	for _, d := range cfg.Cache {
		found = append(found, diskFinding(d))
	}
	var agent node.Status
	running := newClient(cfg.Admin.Socket).get(ctx, "/v1/status", nil, &agent) == nil
	found = append(found,
		portFinding("listen.gossip", cfg.Listen.Gossip, running),
		udpFinding(cfg.Listen.Gossip, running),
		portFinding("listen.peer", cfg.Listen.Peer, running),
		portFinding("listen.admin", cfg.Listen.Admin, running))
	if at := cfg.Mount.SmallFiles; at != "" {
		found = append(found, finding{"mount.small_files", "ok", at + ": the kernel opens files by itself, and reads none by itself", ""})
	}
	for _, m := range cfg.Namespace {
		err := node.CheckUFS(ctx, m)
		found = append(found, findingOf("mount "+m.Path, m.UFS+" answers", err, "fail", ""))
	}
	return found
}

// portFinding checks that an address can be listened at, or is the running agent's.
func portFinding(key, addr string, running bool) finding {
	if addr == config.AdminOff {
		return finding{key, "ok", addr, ""}
	}
	if running {
		return finding{key, "ok", addr + ", in use by the running agent", ""}
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = l.Close()
	}
	return findingOf(key, addr+" is free", err, "fail", "free the port or choose another")
}

// udpFinding checks the half of gossip that is not TCP.
func udpFinding(addr string, running bool) finding {
	const check = "listen.gossip, UDP"
	if running {
		return finding{check, "ok", addr + ", in use by the running agent", ""}
	}
	c, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = c.Close()
	}
	return findingOf(check, addr+" is free", err, "fail", "free the port or choose another")
}

// diskFinding checks a cache directory without writing to it.
func diskFinding(d config.Disk) finding {
	check := "cache " + d.Path
	var st unix.Statfs_t
	if err := unix.Statfs(d.Path, &st); err != nil {
		return findingOf(check, "", err, "warn", "the agent will try to make it")
	}
	if err := unix.Access(d.Path, unix.W_OK); err != nil {
		return findingOf(check, "", err, "fail", "let this user write there")
	}
	total, free := int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	return finding{check, "ok", fmt.Sprintf("%s of %s, %s free", bytes(d.Size.Of(total)), bytes(total), bytes(free)), ""}
}
