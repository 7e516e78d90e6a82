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
are, and for each how many bytes it read from its own NVMe (local), from other nodes (peer)
and from the under file systems (ufs) since it started. Then the disks of this node, and
when the scrub had last verified all blocks there.`,
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
	var used, capacity, blocks int64
	table(w, func(row func(...any)) {
		row("NODE", "ZONE", "STATE", "UP", "CACHED", "CAPACITY", "FULL", "BLOCKS", "LOCAL", "PEER", "UFS")
		for _, m := range s.Members {
			name := m.Name
			if m.ID == s.ID {
				name += "*"
			}
			n := m.Summary
			if n == nil {
				row(name, m.Zone, m.State, "?", "?", bytes(m.CapacityBytes), "?", "?", "?", "?", "? ("+m.Error+")")
				continue
			}
			used, capacity, blocks = used+n.Cache.Bytes, capacity+n.Cache.CapacityBytes, blocks+int64(n.Cache.Blocks)
			row(name, m.Zone, m.State, time.Duration(n.UptimeS*float64(time.Second)).Round(time.Second),
				bytes(n.Cache.Bytes), bytes(n.Cache.CapacityBytes), percent(n.Cache.Bytes, n.Cache.CapacityBytes), n.Cache.Blocks,
				bytes(n.Reads.Bytes["local"]), bytes(n.Reads.Bytes["peer"]), bytes(n.Reads.Bytes["ufs"]))
		}
		row("total", "", "", "", bytes(used), bytes(capacity), percent(used, capacity), blocks)
	})
	fmt.Fprintf(w, "\n* this node, %s; mounted at %s; directory: %d entries\n", s.ID, orNone(s.Mount), s.Directory.Entries)
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
