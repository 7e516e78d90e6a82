package node

import (
	"reflect"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/replicas"
)

func TestCacheStatus(t *testing.T) {
	got := cacheStatus(blockstore.Stats{
		Blocks: 6, Bytes: 60, CapacityBytes: 200, LastEvictions: 3, AskedBytes: 4,
		ByClass: [shoal.Classes]blockstore.Usage{
			shoal.Last: {Blocks: 3, Bytes: 10}, shoal.Surplus: {Blocks: 2, Bytes: 40}, shoal.Excess: {Blocks: 1, Bytes: 10},
		},
	})
	want := CacheStatus{
		Blocks: 6, Bytes: 60, CapacityBytes: 200, LastEvictions: 3, AskedBytes: 4, SurplusBytes: 50, SurplusShare: 0.25,
		Classes: map[string]ClassStatus{"last": {3, 10}, "last-in-zone": {}, "surplus": {2, 40}, "excess": {1, 10}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("cacheStatus() = %+v, want %+v", got, want)
	}
	if got := cacheStatus(blockstore.Stats{}).SurplusShare; got != 0 {
		t.Errorf("surplus share of no capacity = %v, want 0", got)
	}
}

func TestDirectoryStatus(t *testing.T) {
	got := directoryStatus(replicas.Stats{
		Directory: replicas.Counts{
			Entries: 1, Leases: 2, Orders: 3, Moved: 4, LastResigned: 5, Pulled: 6, Differences: 7,
			Resigned: 100, // heard, not outstanding
		},
		FailOpen: 8, Waiting: 9, Resigned: 10, StalenessP50: 0.5, StalenessP99: 2,
		Sent: []replicas.Traffic{{Type: "batch", Messages: 12, Bytes: 11}, {Type: "ack", Messages: 13, Bytes: 14}},
	})
	want := DirectoryStatus{
		Entries: 1, Leases: 2, Orders: 3, Moved: 4, LastResigned: 5, Pulled: 6, Differences: 7,
		FailOpen: 8, Waiting: 9, Resigned: 10, StalenessP50S: 0.5, StalenessP99S: 2,
		Sent: map[string]SentStatus{"batch": {12, 11}, "ack": {13, 14}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("directoryStatus() = %+v, want %+v", got, want)
	}
}
