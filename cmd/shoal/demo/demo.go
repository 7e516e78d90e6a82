// Package demo runs the main job of Shoal on one machine: three agents as three processes
// over one generated dataset, all reading everything at once, one of them killed half-way,
// every byte verified.
//
// Run generates the dataset in a directory that plays the under file system, copies it
// once as the plain tool would, starts the fleet, reads it cold and then warm, and returns
// a Report. It leaves nothing mounted, running or on disk, also when its context ends.
//
// The agents are the real binary with real config files; this package only drives them
// and reads what they serve.
package demo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// nodes is how many agents the demo runs. The last one is killed.
const nodes = 3

// Config holds the settings of a demo. A zero field means its default.
type Config struct {
	// Binary is the shoal binary to run agents with. Default: the running one.
	Binary string
	// Dir is where the dataset and the caches go; it needs four times the dataset's
	// size. Default: a new directory for temporary files.
	Dir string
	// Files is how many small files the dataset has. Default 10,000.
	Files int
	// BigFiles is how many files of BigSize bytes it has besides. Default 2 of 256 MiB.
	BigFiles int
	BigSize  int64
	// Readers is how many files each node reads at a time. Default 4.
	Readers int
	// NoFUSE reads through the agents' API even where the machine could mount.
	NoFUSE bool
	// Progress is told what goes on. Default: nobody.
	Progress Progress
	// Logger receives what the agents say at level warn and above. Default: discard.
	Logger *slog.Logger
}

// A Progress shows how far each phase is.
type Progress interface {
	// Phase begins a phase of total steps, bytes or files.
	Phase(name string, total int64, inBytes bool)
	// Add advances the current phase. It may be called concurrently.
	Add(n int64)
	// Say shows one line.
	Say(format string, args ...any)
}

func (c Config) withDefaults() (Config, error) {
	if c.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return c, err
		}
		c.Binary = self
	}
	if c.Files == 0 {
		c.Files = 10_000
	}
	if c.BigFiles == 0 && c.BigSize == 0 {
		c.BigFiles, c.BigSize = 2, 256<<20
	}
	if c.Readers == 0 {
		c.Readers = 4
	}
	if c.Progress == nil {
		c.Progress = silent{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Files < 0 || c.BigFiles < 0 || c.BigSize < 0 || c.Readers < 0 {
		return c, errors.New("a number of files, bytes or readers is negative")
	}
	return c, nil
}

// Run runs the demo. The Report is complete only when the error is nil; wrong bytes and
// failed reads are in the Report, not an error.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "shoal-demo-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	defer func() {
		cfg.Progress.Phase("clean up", 1, false)
		err = errors.Join(err, os.RemoveAll(dir))
		cfg.Progress.Add(1)
	}()

	set := newDataset(filepath.Join(dir, "ufs"), cfg)
	report := &Report{DatasetBytes: set.bytes(), Files: len(set.files), Nodes: nodes}
	cfg.Progress.Phase("generate the dataset", set.bytes(), true)
	if err := set.generate(ctx, cfg.Progress); err != nil {
		return nil, err
	}
	cfg.Progress.Phase("plain copy", set.bytes(), true)
	if report.PlainFilesPerS, err = set.copyTo(ctx, filepath.Join(dir, "copy"), cfg.Progress); err != nil {
		return nil, err
	}
	fleet, err := startFleet(ctx, dir, set, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.stop()) }()
	report.FUSE = fleet.mounted
	if err := fleet.readCold(ctx, set, cfg, report); err != nil {
		return nil, err
	}
	if err := fleet.readWarm(ctx, set, cfg, report); err != nil {
		return nil, err
	}
	report.settle(fleet)
	return report, nil
}

// rate returns files per second.
func rate(files int64, took time.Duration) float64 { return float64(files) / took.Seconds() }

// silent is a Progress nobody sees.
type silent struct{}

func (silent) Phase(string, int64, bool) {}
func (silent) Add(int64)                 {}
func (silent) Say(string, ...any)        {}

var _ io.Writer = (*logTail)(nil)
