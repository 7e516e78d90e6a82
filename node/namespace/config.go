package namespace

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-mesh/shoal/ufs"
)

// A Mount attaches one UFS prefix at one path of the namespace.
type Mount struct {
	// Path is where, absolute and clean: "/", "/imagenet", "/a/b". What the UFS of an
	// outer mount has below the Path of an inner one is hidden.
	Path string
	// FS is the UFS prefix. It is asked concurrently, and not closed.
	FS ufs.FS
	// TTL is how long what the UFS said counts as fresh. Default 1m; not negative.
	TTL time.Duration
	// MaxStale is how long names are served while the UFS does not answer, counted
	// from when they were last confirmed. Default 24h; not less than TTL.
	MaxStale time.Duration
}

func (m Mount) withDefaults() Mount {
	if m.TTL == 0 {
		m.TTL = time.Minute
	}
	if m.MaxStale == 0 {
		m.MaxStale = max(24*time.Hour, m.TTL)
	}
	return m
}

// violations returns what is wrong with m by itself.
func (m Mount) violations() []error {
	var errs []error
	if err := checkPath(m.Path); err != nil {
		errs = append(errs, fmt.Errorf("mount %q: %w", m.Path, err))
	}
	if m.FS == nil {
		errs = append(errs, fmt.Errorf("mount %q: no under file system", m.Path))
	}
	if m.TTL < 0 {
		errs = append(errs, fmt.Errorf("mount %q: ttl %v is negative", m.Path, m.TTL))
	}
	if m.MaxStale < m.TTL {
		errs = append(errs, fmt.Errorf("mount %q: max stale %v is less than ttl %v", m.Path, m.MaxStale, m.TTL))
	}
	return errs
}

// Config holds the settings of a Namespace. A zero field means its default.
type Config struct {
	// Timeout bounds one Stat of a UFS. Default 10s; positive.
	Timeout time.Duration
	// ListTimeout bounds one page of a listing. Default 30s; positive.
	ListTimeout time.Duration
	// RetryAfter is how long a UFS that did not answer is left alone. Default 2s;
	// positive.
	RetryAfter time.Duration
	// StaleWait is how long a UFS that is not known to be down is waited for by who has
	// something to serve stale: a name's record, or a directory's old listing. Default
	// 1s; positive.
	StaleWait time.Duration
	// NegativeTTL bounds how long "no such file" from a single Stat holds; the mount's
	// TTL bounds it too. Default 10s; positive.
	NegativeTTL time.Duration
	// CacheBytes bounds the RAM that Pebble keeps of what is on disk. Default 64 MiB;
	// positive.
	CacheBytes int64
	// OnChange is told that name in the directory parent no longer stands for oldID as
	// it was: it is gone, stands for another id, or (a file) has other attributes; or, with
	// an oldID of 0, that there is one which the UFS was known not to have. It is
	// called from a goroutine of its own, one call at a time, without any lock held, and
	// once for equal calls that wait. Default: nobody is told.
	OnChange func(parent uint64, name string, oldID uint64)
	// Now stamps what the UFS said. Default time.Now.
	Now func() time.Time
	// Logger receives a line when a UFS stops and starts to answer, and when a name is
	// skipped. Default: discard.
	Logger *slog.Logger

	disk vfs.FS // where Pebble keeps its files; for tests
}

func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.ListTimeout, 30*time.Second)
	setDefault(&c.RetryAfter, 2*time.Second)
	setDefault(&c.StaleWait, time.Second)
	setDefault(&c.NegativeTTL, 10*time.Second)
	setDefault(&c.CacheBytes, 64<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.disk == nil {
		c.disk = vfs.Default
	}
	return c, errors.Join(
		positive("timeout", c.Timeout),
		positive("list timeout", c.ListTimeout),
		positive("retry after", c.RetryAfter),
		positive("stale wait", c.StaleWait),
		positive("negative ttl", c.NegativeTTL),
		positive("cache bytes", c.CacheBytes),
	)
}

func setDefault[T ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func positive[T ~int64](name string, value T) error {
	if value <= 0 {
		return fmt.Errorf("%s: %v is not positive", name, value)
	}
	return nil
}
