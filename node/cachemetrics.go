package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// A cacheCollector reads the block store's counters, once for each scrape. What it tells by
// disk, size class and dataset comes and goes while the agent runs.
type cacheCollector struct {
	stats func() blockstore.Stats
	descs map[string]*prometheus.Desc
}

var _ prometheus.Collector = &cacheCollector{}

// newCacheCollector returns a collector of what stats returns.
func newCacheCollector(stats func() blockstore.Stats) *cacheCollector {
	c := &cacheCollector{stats: stats, descs: make(map[string]*prometheus.Desc)}
	for _, m := range []struct {
		name, help string
		labels     []string
	}{
		{"cache_blocks", "Blocks in the store.", nil},
		{"cache_bytes", "Bytes the store occupies.", nil},
		{"cache_capacity_bytes", "Bytes the store may occupy.", nil},
		{"cache_evictions_total", "Blocks evicted.", nil},
		{"last_evictions_total", "Blocks evicted whose replica was the last one, as far as their homes had told.", nil},
		{"asked_bytes", "Bytes of replicas whose homes have been asked whether they may go.", nil},
		{"cache_class_blocks", "Blocks by what their replicas are worth to the mesh.", []string{"class"}},
		{"cache_class_bytes", "Bytes the blocks of a class occupy.", []string{"class"}},
		{"cache_moved_total", "Blocks moved to empty a slab for another size class.", nil},
		{"cache_corrupt_total", "Blocks dropped because they did not match their checksum.", nil},
		{"cache_pinned_keys", "Keys pinned; one that several owners pin counts for each.", nil},
		{"disk_ok", "1 while the disk takes blocks.", []string{"disk"}},
		{"disk_bytes", "Bytes the blocks on a disk occupy.", []string{"disk"}},
		{"disk_container_bytes", "Bytes the containers on a disk occupy, free slots included.", []string{"disk"}},
		{"disk_limit_bytes", "Bytes a disk may take now: less than configured while its file system is full.", []string{"disk"}},
		{"disk_unusable_bytes", "Bytes of slots not used again because a block in them was bad.", []string{"disk"}},
		{"class_slots", "Slots of a size class on a disk.", []string{"disk", "slot_bytes"}},
		{"class_free_slots", "Free slots of a size class on a disk.", []string{"disk", "slot_bytes"}},
		{"dataset_blocks", "Blocks of a dataset: of the mount at this path.", []string{"dataset"}},
		{"dataset_bytes", "Bytes the blocks of a dataset occupy.", []string{"dataset"}},
		{"dataset_quota_bytes", "Bytes the blocks of a dataset may occupy.", []string{"dataset"}},
		{"scrub_pass_blocks", "Blocks the scrub of a disk has read in this pass.", []string{"disk"}},
		{"scrub_bad_total", "Bad blocks the scrub of a disk has found.", []string{"disk"}},
		{"scrub_last_pass_timestamp_seconds", "When a scrub of the whole disk ended; 0 when none has.", []string{"disk"}},
	} {
		c.descs[m.name] = prometheus.NewDesc("shoal_"+m.name, m.help, m.labels, nil)
	}
	return c
}

// Describe sends what there may be.
func (c *cacheCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect sends the counters.
func (c *cacheCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(name string, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, value, labels...)
	}
	count := func(name string, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.descs[name], prometheus.CounterValue, value, labels...)
	}
	s := c.stats()
	gauge("cache_blocks", float64(s.Blocks))
	gauge("cache_bytes", float64(s.Bytes))
	gauge("cache_capacity_bytes", float64(s.CapacityBytes))
	count("cache_evictions_total", float64(s.Evictions))
	count("last_evictions_total", float64(s.LastEvictions))
	gauge("asked_bytes", float64(s.AskedBytes))
	for i, u := range s.ByClass {
		class := shoal.Class(i).String()
		gauge("cache_class_blocks", float64(u.Blocks), class)
		gauge("cache_class_bytes", float64(u.Bytes), class)
	}
	count("cache_moved_total", float64(s.Moved))
	count("cache_corrupt_total", float64(s.Corrupt))
	pinned := 0
	for _, keys := range s.Pinned {
		pinned += keys
	}
	gauge("cache_pinned_keys", float64(pinned))
	for _, set := range s.Datasets {
		gauge("dataset_blocks", float64(set.Blocks), set.Name)
		gauge("dataset_bytes", float64(set.Bytes), set.Name)
		if set.Quota > 0 {
			gauge("dataset_quota_bytes", float64(set.Quota), set.Name)
		}
	}
	for _, d := range s.Disks {
		collectDisk(d, gauge, count)
	}
}

// collectDisk sends the counters of one disk.
func collectDisk(d blockstore.DiskStats, gauge, count func(name string, value float64, labels ...string)) {
	ok := 1.0
	if d.Err != nil {
		ok = 0
	}
	gauge("disk_ok", ok, d.Path)
	gauge("disk_bytes", float64(d.Bytes), d.Path)
	gauge("disk_container_bytes", float64(d.ContainerBytes), d.Path)
	gauge("disk_limit_bytes", float64(d.LimitBytes), d.Path)
	gauge("disk_unusable_bytes", float64(d.UnusableBytes), d.Path)
	for _, c := range d.Classes {
		slot := strconv.FormatInt(c.SlotBytes, 10)
		gauge("class_slots", float64(c.Slots), d.Path, slot)
		gauge("class_free_slots", float64(c.Free), d.Path, slot)
	}
	gauge("scrub_pass_blocks", float64(d.Scrub.Blocks), d.Path)
	count("scrub_bad_total", float64(d.Scrub.Bad), d.Path)
	var last float64
	if !d.Scrub.LastPass.IsZero() {
		last = float64(d.Scrub.LastPass.UnixMilli()) / 1000
	}
	gauge("scrub_last_pass_timestamp_seconds", last, d.Path)
}
