package node

import (
	"log/slog"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/replicas"
)

// storeConfig returns what the config file says of the block store. A block's dataset is the
// path of its mount: see Fetcher.keep.
func storeConfig(cfg *config.Config, disks []blockstore.Disk, log *slog.Logger) blockstore.Config {
	quotas, rules := make(map[string]int64), make(map[string]policy.Rules)
	for _, m := range cfg.Namespace {
		if m.Quota > 0 {
			quotas[m.Path] = int64(m.Quota)
		}
		base, _ := policy.ParseBase(m.Policy) // config knows no other words
		rules[m.Path] = policy.Rules{Base: base, Classes: m.Replicas.Classes}
	}
	return blockstore.Config{
		Disks: disks, Quotas: quotas, Rules: func(dataset string) policy.Rules { return rules[dataset] }, ScrubBytesPerSec: int64(cfg.Scrub.Rate), ScrubPause: cfg.Scrub.Pause,
		Progress: rebuildLog(log, 5*time.Second), Logger: log,
	}
}

// limitsOf returns what the config file says of the replicas of a dataset's blocks.
func limitsOf(cfg *config.Config) func(dataset string) replicas.Limits {
	limits := make(map[string]replicas.Limits)
	for _, m := range cfg.Namespace {
		limits[m.Path] = replicas.Limits{Min: uint8(m.Replicas.Min), Max: uint8(m.Replicas.Max)}
	}
	return func(dataset string) replicas.Limits { return limits[dataset] }
}

// forwardRates returns how much of a dataset's last replicas may be handed over per second, for
// datasets of which any may.
func forwardRates(cfg *config.Config) map[string]int64 {
	rates := make(map[string]int64)
	for _, m := range cfg.Namespace {
		if m.Forward > 0 {
			rates[m.Path] = int64(m.Forward)
		}
	}
	return rates
}

// rebuildLog returns what logs how rebuilds of indexes go, a line per disk and interval. It may
// be called by several goroutines.
func rebuildLog(log *slog.Logger, interval time.Duration) func(blockstore.Progress) {
	var mu sync.Mutex // guards said
	said := make(map[string]time.Time)
	return func(p blockstore.Progress) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if last, ok := said[p.Disk]; ok && now.Sub(last) < interval {
			return
		}
		said[p.Disk] = now
		log.Info("making the cache index anew", "disk", p.Disk, "containers", p.Done, "of", p.Total, "blocks", p.Blocks)
	}
}
