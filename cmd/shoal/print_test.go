package main

import (
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/node"
)

func TestPrintStat(t *testing.T) {
	s := node.PathStat{
		PathInfo: node.PathInfo{Path: "/data/a", Blocks: 3},
		Replicas: []node.BlockInfo{
			{Index: 0, Length: 4194304, Holders: []node.Holder{
				{ID: "1", Name: "n1", Keeper: true, Class: "surplus"}, {ID: "2", Name: "n2", Class: "surplus"}, {ID: "3", Name: "n3", Class: "last"},
			}},
			{Index: 1, Length: 100, Holders: []node.Holder{{ID: "1", Keeper: true, Class: "last"}}, More: 2},
			{Index: 2, Length: 1, Filler: &node.Holder{ID: "2", Name: "n2"}},
			{Index: 3, Length: 1, Unknown: true},
		},
	}
	var out strings.Builder
	printStat(&out, s)
	_, got, _ := strings.Cut(out.String(), "\n\n")
	want := `BLOCK  BYTES    REPLICAS  HOLDERS
0      4194304  3         n1*(surplus) n2(surplus) n3
1      100      3         1* and 2 more
2      1        0         filling: n2
3      1        0         (no home can tell)

* keeper: does not drop its replica alone
surplus: another node of the zone has a replica
`
	if got != want {
		t.Errorf("printStat() =\n%s\nwant\n%s", got, want)
	}
}

func TestPrintStatusOfTheMesh(t *testing.T) {
	one := node.Summary{
		ID: "1", Reads: node.ReadStats{Bytes: map[string]int64{"local": 1 << 20}},
		Cache:     node.CacheStatus{Bytes: 50 << 20, CapacityBytes: 100 << 20, SurplusBytes: 10 << 20, Blocks: 3, LastEvictions: 2},
		Directory: node.DirectoryStatus{Entries: 5, Waiting: 1, Pulled: 2, Moved: 3, LastResigned: 4, Resigned: 5, StalenessP50S: 0.0312, StalenessP99S: 0.2},
	}
	one.Mount, one.Kernel = "/mnt/shoal", &node.KernelStatus{Passthrough: "off: by configuration"}
	two := one
	two.Directory.StalenessP99S = 1.26
	var out strings.Builder
	printStatus(&out, node.Status{Summary: one, Members: []node.MemberStatus{
		{ID: "1", Name: "one", Zone: "z1", State: "serving", Summary: &one},
		{ID: "2", Name: "two", Zone: "z1", State: "serving", Summary: &two},
		{ID: "3", Name: "three", Zone: "z1", State: "serving", Error: "no answer"},
	}})
	got, _, _ := strings.Cut(out.String(), "\n\nDISK")
	want := `NODE   ZONE  STATE    UP  CACHED   CAPACITY  FULL  SURPLUS  BLOCKS  LAST LOST  LOCAL    PEER  UFS
one*   z1    serving  0s  50 MiB   100 MiB   50%   10%      3       2          1.0 MiB  0 B   0 B
two    z1    serving  0s  50 MiB   100 MiB   50%   10%      3       2          1.0 MiB  0 B   0 B
three  z1    serving  ?   ?        0 B       ?     ?        ?       ?          ?        ?     ? (no answer)
total                     100 MiB  200 MiB   50%   10%      6       4

* this node, 1; mounted at /mnt/shoal, passthrough off: by configuration

DIRECTORY   STALE P50  STALE P99  WAITING  HANDED OVER  KEEPERS MOVED  LAST LET GO  RESIGNED
10 entries  31ms       1.3s       2        4            6              8            10
`
	if got != strings.TrimSuffix(want, "\n") {
		t.Errorf("printStatus() =\n%s\nwant\n%s", got, want)
	}
}
