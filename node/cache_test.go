package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/node/config"
)

func TestStoreConfig(t *testing.T) {
	cfg := &config.Config{
		Scrub: config.Scrub{Rate: 5 << 20, Pause: time.Hour},
		Namespace: []config.Mount{
			{Path: "/models", Quota: 500 << 30},
			{Path: "/models/nas"},
		},
	}
	disks := []blockstore.Disk{{Path: "/c", SizeBytes: 1}}
	got := storeConfig(cfg, disks, slog.New(slog.DiscardHandler))
	if want := map[string]int64{"/models": 500 << 30}; !reflect.DeepEqual(got.Quotas, want) {
		t.Errorf("quotas %v, want %v", got.Quotas, want)
	}
	if got.ScrubBytesPerSec != 5<<20 || got.ScrubPause != time.Hour || !reflect.DeepEqual(got.Disks, disks) {
		t.Errorf("storeConfig() = %+v", got)
	}
}

func TestRebuildLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		say := rebuildLog(slog.New(slog.NewTextHandler(&out, nil)), 5*time.Second)
		for i := range 11 { // seconds
			say(blockstore.Progress{Disk: "/a", Done: i, Total: 20})
			say(blockstore.Progress{Disk: "/b", Done: i, Total: 20})
			time.Sleep(time.Second)
		}
		for _, done := range []int{0, 5, 10} {
			if n := strings.Count(out.String(), fmt.Sprintf("containers=%d of=20", done)); n != 2 {
				t.Errorf("%d lines of %d containers, want 2:\n%s", n, done, &out)
			}
		}
		if n := strings.Count(out.String(), "\n"); n != 6 {
			t.Errorf("%d lines, want 6", n)
		}
	})
}

func TestCacheCollector(t *testing.T) {
	stats := blockstore.Stats{
		Blocks: 3, Bytes: 4, CapacityBytes: 5, Evictions: 6, Moved: 7, Corrupt: 8, LastEvictions: 21, AskedBytes: 22,
		ByClass:  [shoal.Classes]blockstore.Usage{shoal.Last: {Blocks: 23, Bytes: 24}, shoal.Excess: {Blocks: 25, Bytes: 26}},
		Pinned:   map[string]int{"a": 1, "b": 2},
		Datasets: []blockstore.DatasetStats{{Blocks: 1, Bytes: 2}, {Name: "/train", Blocks: 9, Bytes: 10, Quota: 11}},
		Disks: []blockstore.DiskStats{
			{
				Path: "/a", Bytes: 12, ContainerBytes: 13, LimitBytes: 14, UnusableBytes: 15,
				Classes: []blockstore.ClassStats{{SlotBytes: 4096, Slabs: 1, Slots: 16, Free: 17}, {SlotBytes: 8192, Slots: 1}},
				Scrub:   blockstore.ScrubStats{Blocks: 18, Bad: 19, LastPass: time.Unix(20, 5e8)},
			},
			{Path: "/b", Err: errors.New("worn")},
		},
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newCacheCollector(func() blockstore.Stats { return stats }))
	got := gather(t, reg)
	want := map[string]float64{
		"shoal_cache_blocks": 3, "shoal_cache_bytes": 4, "shoal_cache_capacity_bytes": 5, "shoal_cache_evictions_total": 6,
		"shoal_cache_moved_total": 7, "shoal_cache_corrupt_total": 8, "shoal_cache_pinned_keys": 3,
		"shoal_last_evictions_total": 21, "shoal_asked_bytes": 22,
		"shoal_cache_class_blocks last": 23, "shoal_cache_class_bytes last": 24,
		"shoal_cache_class_blocks last-in-zone": 0, "shoal_cache_class_bytes last-in-zone": 0,
		"shoal_cache_class_blocks surplus": 0, "shoal_cache_class_bytes surplus": 0,
		"shoal_cache_class_blocks excess": 25, "shoal_cache_class_bytes excess": 26,
		"shoal_dataset_blocks ": 1, "shoal_dataset_bytes ": 2,
		"shoal_dataset_blocks /train": 9, "shoal_dataset_bytes /train": 10, "shoal_dataset_quota_bytes /train": 11,
		"shoal_disk_ok /a": 1, "shoal_disk_bytes /a": 12, "shoal_disk_container_bytes /a": 13, "shoal_disk_limit_bytes /a": 14,
		"shoal_disk_unusable_bytes /a": 15, "shoal_class_slots /a 4096": 16, "shoal_class_free_slots /a 4096": 17,
		"shoal_class_slots /a 8192": 1, "shoal_class_free_slots /a 8192": 0,
		"shoal_scrub_pass_blocks /a": 18, "shoal_scrub_bad_total /a": 19, "shoal_scrub_last_pass_timestamp_seconds /a": 20.5,
		"shoal_disk_ok /b": 0, "shoal_disk_bytes /b": 0, "shoal_disk_container_bytes /b": 0, "shoal_disk_limit_bytes /b": 0,
		"shoal_disk_unusable_bytes /b": 0, "shoal_scrub_pass_blocks /b": 0, "shoal_scrub_bad_total /b": 0,
		"shoal_scrub_last_pass_timestamp_seconds /b": 0,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}
