package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func statusCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show the mesh: members, capacity, where reads came from", Args: cobra.NoArgs,
		Long: `Show the mesh as the agent on this machine sees it: its members, how full their caches
are, how much of them is surplus (replicas of blocks that another node of the zone has
as well), how many last replicas they had to evict (last lost), and for each how many bytes it
read from its own NVMe (local), from other nodes (peer) and from the under file systems (ufs)
since it started. Then how well the directory of replicas keeps up: how long it took until a
change on a node was known at its homes (lately, on the slowest node), changes that
are still on their way, what homes handed over when members came or went, and keepers (nodes
that do not drop their replica of a block alone) that were replaced or let go. If this node records
what it reads, how much of it. Then the disks of
this node, and when the scrub had last verified all blocks there.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s node.Status
		if err := newClient(*socket).get(c.Context(), "/v1/status", nil, &s); err != nil {
			return fmt.Errorf("status: %w", err)
		}
		return output(c, asJSON, s, printStatus)
	}
	return c
}

func printStatus(w io.Writer, s node.Status) {
	var used, capacity, surplus, blocks int64
	var lost uint64
	table(w, func(row func(...any)) {
		row("NODE", "ZONE", "STATE", "UP", "CACHED", "CAPACITY", "FULL", "SURPLUS", "BLOCKS", "LAST LOST", "LOCAL", "PEER", "UFS")
		for _, m := range s.Members {
			name := m.Name
			if m.ID == s.ID {
				name += "*"
			}
			n := m.Summary
			if n == nil {
				row(name, m.Zone, m.State, "?", "?", bytes(m.CapacityBytes), "?", "?", "?", "?", "?", "?", "? ("+m.Error+")")
				continue
			}
			used, capacity, blocks = used+n.Cache.Bytes, capacity+n.Cache.CapacityBytes, blocks+int64(n.Cache.Blocks)
			surplus, lost = surplus+n.Cache.SurplusBytes, lost+n.Cache.LastEvictions
			row(name, m.Zone, m.State, time.Duration(n.UptimeS*float64(time.Second)).Round(time.Second),
				bytes(n.Cache.Bytes), bytes(n.Cache.CapacityBytes), percent(n.Cache.Bytes, n.Cache.CapacityBytes),
				percent(n.Cache.SurplusBytes, n.Cache.CapacityBytes), n.Cache.Blocks, n.Cache.LastEvictions,
				bytes(n.Reads.Bytes["local"]), bytes(n.Reads.Bytes["peer"]), bytes(n.Reads.Bytes["ufs"]))
		}
		row("total", "", "", "", bytes(used), bytes(capacity), percent(used, capacity), percent(surplus, capacity), blocks, lost)
	})
	fmt.Fprintf(w, "\n* this node, %s; mounted at %s", s.ID, orNone(s.Mount))
	if s.Kernel != nil {
		fmt.Fprintf(w, ", passthrough %s", s.Kernel.Passthrough)
	}
	if s.SmallFiles != nil {
		fmt.Fprintf(w, "; for small files at %s", s.SmallFiles.Mount)
	}
	fmt.Fprintln(w)
	printTrace(w, s.Trace)
	printDirectory(w, s.Members)
	printDisks(w, s.Cache.Disks)
	table(w, func(row func(...any)) {
		row("\nMOUNT", "UFS", "STATE")
		for _, m := range s.Mounts {
			state := "ok"
			if m.Down {
				state = "not answering: " + m.Error
			}
			row(m.Path, m.Address, state)
		}
	})
}

// printTrace tells what of the reads of this node is recorded, if they are.
func printTrace(w io.Writer, t *node.TraceStatus) {
	switch {
	case t == nil:
	case t.Error != "":
		fmt.Fprintf(w, "recorded %d reads; no more are: %s\n", t.Records, t.Error)
	default:
		fmt.Fprintf(w, "records the reads of %.4g%% of the blocks in %s: %d so far (%s), %d dropped\n", 100*t.Share, t.Path, t.Records, bytes(t.Bytes), t.Dropped)
	}
}

// printDirectory tells how the replica directory does in the mesh.
func printDirectory(w io.Writer, members []node.MemberStatus) {
	var all node.DirectoryStatus
	for _, m := range members {
		if m.Summary == nil {
			continue
		}
		d := m.Summary.Directory
		all.Entries, all.Pulled, all.Waiting = all.Entries+d.Entries, all.Pulled+d.Pulled, all.Waiting+d.Waiting
		all.Resigned, all.Moved, all.LastResigned = all.Resigned+d.Resigned, all.Moved+d.Moved, all.LastResigned+d.LastResigned
		all.StalenessP50S, all.StalenessP99S = max(all.StalenessP50S, d.StalenessP50S), max(all.StalenessP99S, d.StalenessP99S)
	}
	table(w, func(row func(...any)) {
		row("\nDIRECTORY", "STALE P50", "STALE P99", "WAITING", "HANDED OVER", "KEEPERS MOVED", "LAST LET GO", "RESIGNED")
		row(fmt.Sprintf("%d entries", all.Entries), seconds(all.StalenessP50S), seconds(all.StalenessP99S),
			all.Waiting, all.Pulled, all.Moved, all.LastResigned, all.Resigned)
	})
}

// seconds returns a length of time for people, as well as it is known.
func seconds(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case d == 0:
		return "-"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// printDisks tells of this node's disks.
func printDisks(w io.Writer, disks []node.DiskStatus) {
	table(w, func(row func(...any)) {
		row("\nDISK", "CACHED", "CAPACITY", "FULL", "SCRUBBED", "STATE")
		for _, d := range disks {
			scrubbed, state := "not yet", "ok"
			if d.Scrubbed != nil {
				scrubbed = date(*d.Scrubbed)
			}
			if d.LimitBytes < d.CapacityBytes {
				state = "its file system is full: makes do with " + bytes(d.LimitBytes)
			}
			if d.Error != "" {
				state = "takes no blocks: " + d.Error
			}
			row(d.Path, bytes(d.Bytes), bytes(d.CapacityBytes), percent(d.Bytes, d.CapacityBytes), scrubbed, state)
		}
	})
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
