package blockstore

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoal-mesh/shoal"
)

// modelSteps is how many steps the random histories of TestModel have in all, at least.
const modelSteps = 100_000

// TestModel runs random histories of puts, reads, pins, evictions, removals and restarts.
func TestModel(t *testing.T) {
	t.Parallel()
	var done historyCounts
	for name, histories := range map[string]func(*testing.T) historyCounts{"exact": modelExact, "mixed": modelMixed} {
		t.Run(name, func(t *testing.T) {
			n := histories(t)
			t.Logf("%+v", n)
			done.steps += n.steps
			done.evictions += n.evictions
			done.restarts += n.restarts
		})
	}
	if !thorough() || t.Failed() {
		return
	}
	if done.steps < modelSteps || done.evictions < modelSteps/10 || done.restarts < modelSteps/1000 {
		t.Errorf("%+v, want %d steps with a tenth and a thousandth as many evictions and restarts", done, modelSteps)
	}
}

// modelExact has blocks of one class on one disk without watermarks: the model says which block
// goes, and when.
func modelExact(t *testing.T) historyCounts {
	const slots = 2 * 15
	begin := func(_ *rapid.T, h *history) {
		h.cfg.Disks = h.cfg.Disks[:1]
		h.cfg.Disks[0].SizeBytes = 2*16*pageSize + pageSize
		h.cfg.SlabBytes = 16 * pageSize
		h.cfg.High, h.cfg.Low = 1, 1
		h.cfg.OpenFiles = 1
		h.keys = 3 * slots
		h.file = func(i uint32) (shoal.Key, File) {
			return shoal.Key{File: shoal.FileID{byte(i)}}, File{SizeBytes: 1 + int64(i)*45, Dataset: "one"}
		}
	}
	return checkHistories(t, 150, 150, begin, func(h *history) map[string]func(*rapid.T) {
		putOne := func(rt *rapid.T) {
			key, f := h.draw(rt)
			room := h.present[key] || len(h.present) < slots || h.evict()
			if err := h.put(key, f); room != (err == nil) || err != nil && !errors.Is(err, ErrFull) {
				rt.Fatalf("Put(%v) = %v, want room %v", key, err, room)
			}
			if room && !h.present[key] {
				h.add(key)
			}
		}
		return map[string]func(*rapid.T){
			"put": putOne, "put more": putOne,
			"put many": func(rt *rapid.T) {
				for range slots / 2 {
					putOne(rt)
				}
			},
			"pin": func(rt *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 1, 1, slots}).Draw(rt, "pins") {
					h.pinOne(rt)
				}
			},
			"restart": func(rt *rapid.T) {
				if rapid.IntRange(0, 19).Draw(rt, "restart") == 0 {
					h.restart(rt)
				}
			},
			"": func(rt *rapid.T) {
				settled(h.store)
				h.mu.Lock()
				gone := h.gone
				h.gone = nil
				h.mu.Unlock()
				if !slices.Equal(gone, h.told) {
					rt.Fatalf("OnEvict(%v), want %v", gone, h.told)
				}
				h.done.evictions += len(gone)
				h.told = nil
				h.check(rt)
			},
		}
	})
}

// modelMixed has packed blocks of many sizes, sparse ones, datasets with quotas, watermarks,
// sections and one or two disks. The model does not know how many blocks go, but that no other
// goes than OnEvict tells of, that there is always room unless pins or sections take it, and with
// one disk and one dataset, that the oldest go.
func modelMixed(t *testing.T) historyCounts {
	begin := func(rt *rapid.T, h *history) {
		h.cfg.SlabBytes = rapid.SampledFrom([]int64{16, 64, 128}).Draw(rt, "slab pages") * pageSize
		h.cfg.Disks = h.cfg.Disks[:rapid.IntRange(1, 2).Draw(rt, "disks")]
		for i := range h.cfg.Disks {
			h.cfg.Disks[i].SizeBytes = rapid.Int64Range(3, 12).Draw(rt, "slabs")*h.cfg.SlabBytes + 12_345
		}
		marks := rapid.SampledFrom([][2]float64{{1, 1}, {0.98, 0.97}, {0.8, 0.6}}).Draw(rt, "watermarks")
		h.cfg.High, h.cfg.Low = marks[0], marks[1]
		h.cfg.OpenFiles = rapid.SampledFrom([]int{1, 100}).Draw(rt, "open files")
		h.lru = len(h.cfg.Disks) == 1 && rapid.Bool().Draw(rt, "one dataset")
		if !h.lru && rapid.Bool().Draw(rt, "quota") {
			h.cfg.Quotas = map[string]int64{"b c": rapid.Int64Range(1, 2*h.cfg.SlabBytes).Draw(rt, "bytes")}
		}
		h.keys = 120
		h.file = h.mixedFile
	}
	return checkHistories(t, 240, 150, begin, func(h *history) map[string]func(*rapid.T) {
		return map[string]func(*rapid.T){
			"put": h.putMany, "put more": h.putMany, "put most": h.putMany, "open": h.openOne,
			"close": func(rt *rapid.T) {
				h.done.steps++
				h.closeSections(rt)
			},
			"restart": func(rt *rapid.T) {
				if rapid.IntRange(0, 19).Draw(rt, "restart") > 0 {
					return
				}
				for i := range h.cfg.Disks {
					h.cfg.Disks[i].SizeBytes = rapid.Int64Range(3, 12).Draw(rt, "slabs")*h.cfg.SlabBytes + 12_345
				}
				h.restart(rt)
			},
			"": func(rt *rapid.T) {
				settled(h.store)
				h.takeGone(rt)
				h.check(rt)
			},
		}
	})
}
