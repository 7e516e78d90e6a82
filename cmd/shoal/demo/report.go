package demo

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// A Report is what a demo measured. Its JSON form is stable.
type Report struct {
	DatasetBytes   int64            `json:"dataset_bytes"`
	Files          int              `json:"files"`
	Nodes          int              `json:"nodes"`
	FUSE           bool             `json:"fuse"`      // read through mounts, not the API
	UFSBytes       int64            `json:"ufs_bytes"` // sent by the UFS, to all nodes
	UFSEgressRatio float64          `json:"ufs_egress_ratio"`
	Tiers          map[string]int64 `json:"tiers"` // bytes given to readers: local, peer, ufs
	NodeTiers      []NodeTiers      `json:"node_tiers"`
	PlainFilesPerS float64          `json:"plain_copy_files_per_s"`
	ColdFilesPerS  float64          `json:"cold_files_per_s"` // of all nodes together
	WarmFilesPerS  float64          `json:"warm_files_per_s"`
	WrongBytes     int64            `json:"wrong_bytes"`
	FailedReads    int64            `json:"failed_reads"`
	FirstFailure   string           `json:"first_failure,omitempty"`
}

// NodeTiers says where the bytes of one node's reads came from.
type NodeTiers struct {
	Node   string           `json:"node"`
	Killed bool             `json:"killed"`
	Tiers  map[string]int64 `json:"tiers"`
	// UFSBytes is what the node read from the UFS, for its readers or its peers'.
	UFSBytes int64 `json:"ufs_bytes"`
}

// add counts an epoch's failures.
func (r *Report) add(e *epoch) {
	r.WrongBytes += e.wrong.Load()
	r.FailedReads += e.failed.Load()
	if e.first != nil && r.FirstFailure == "" {
		r.FirstFailure = e.first.Error()
	}
}

// settle sums up what the agents said of themselves.
func (r *Report) settle(f *fleet) {
	r.Tiers = make(map[string]int64)
	for _, a := range f.agents {
		n := NodeTiers{Node: a.name, Killed: a.killed.Load(), Tiers: a.last.Reads.Bytes, UFSBytes: a.last.Fetches.UFSBytes}
		for tier, bytes := range n.Tiers {
			r.Tiers[tier] += bytes
		}
		r.UFSBytes += n.UFSBytes
		r.NodeTiers = append(r.NodeTiers, n)
	}
	r.UFSEgressRatio = float64(r.UFSBytes) / float64(r.DatasetBytes)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	how := "FUSE mounts"
	if !r.FUSE {
		how = "the agents' API (no FUSE here)"
	}
	fmt.Fprintf(w, "\n%d agents, %d files, %s, read through %s\n\n", r.Nodes, r.Files, size(r.DatasetBytes), how)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "node\tlocal\tpeer\tufs\tread from the UFS\t")
	for _, n := range r.NodeTiers {
		name := n.Node
		if n.Killed {
			name += " (killed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", name, size(n.Tiers["local"]), size(n.Tiers["peer"]), size(n.Tiers["ufs"]), size(n.UFSBytes))
	}
	fmt.Fprintf(t, "all\t%s\t%s\t%s\t%s\t\n", size(r.Tiers["local"]), size(r.Tiers["peer"]), size(r.Tiers["ufs"]), size(r.UFSBytes))
	_ = t.Flush() // as the writes to w: nobody is left to tell
	fmt.Fprintf(w, "\nUFS egress    %.3f x the dataset (%d nodes without a mesh: %d.000 x)\n", r.UFSEgressRatio, r.Nodes, r.Nodes)
	fmt.Fprintf(w, "files/s       %.0f cold, %.0f warm, all nodes together; %.0f by a plain copy\n", r.ColdFilesPerS, r.WarmFilesPerS, r.PlainFilesPerS)
	fmt.Fprintf(w, "wrong bytes   %d\nfailed reads  %d", r.WrongBytes, r.FailedReads)
	if r.FirstFailure != "" {
		fmt.Fprintf(w, " (first: %s)", r.FirstFailure)
	}
	fmt.Fprintln(w)
}
