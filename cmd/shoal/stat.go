package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node"
)

func statCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "stat PATH", Short: "Show a file's version, age and which nodes hold its blocks", Args: cobra.ExactArgs(1),
		Long: `Show one path of the namespace: its version, how long ago the under file system
confirmed it, where the last read of it on this node came from, and for each of its blocks which
nodes hold a replica, which of them are keepers, and what each replica is worth to the mesh, if not
that of a last one.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		var s node.PathStat
		from := newClient(*socket)
		if err := from.get(c.Context(), "/v1/stat", url.Values{"path": args}, &s); err != nil {
			return fmt.Errorf("stat %s: %w", args[0], err)
		}
		return output(c, asJSON, s, printStat)
	}
	return c
}

func printStat(w io.Writer, s node.PathStat) {
	table(w, func(row func(...any)) {
		row("path", s.Path)
		row("mount", s.Mount)
		row("modified", date(s.ModTime))
		row("age", age(s.PathInfo))
		if s.Dir {
			row("type", "directory")
			return
		}
		row("size", humanize.Comma(s.Size))
		row("version", s.Version)
		row("file id", s.File)
		row("last read from", s.LastTier)
		row("cached here", fmt.Sprintf("%d of %d blocks", s.BlocksCached, s.Blocks))
	})
	if len(s.Replicas) == 0 {
		return
	}
	fmt.Fprintln(w)
	table(w, func(row func(...any)) {
		row("BLOCK", "BYTES", "REPLICAS", "HOLDERS")
		for _, b := range s.Replicas {
			names := make([]string, len(b.Holders))
			for i, h := range b.Holders {
				names[i] = holder(h)
			}
			if b.More > 0 {
				names = append(names, fmt.Sprintf("and %d more", b.More))
			}
			if b.Unknown {
				names = append(names, "(no home can tell)")
			}
			if b.Filler != nil {
				names = append(names, "filling: "+nameOf(*b.Filler))
			}
			row(b.Index, b.Length, len(b.Holders)+b.More, strings.Join(names, " "))
		}
	})
	printLegend(w, s.Replicas)
}

// holder names a holder, with what is to be said of its replica.
func holder(h node.Holder) string {
	name := nameOf(h)
	if h.Keeper {
		name += "*"
	}
	if h.Class != "" && h.Class != shoal.Last.String() {
		name += "(" + h.Class + ")"
	}
	return name
}

// nameOf returns the ID of a node that has just left.
func nameOf(h node.Holder) string {
	if h.Name == "" {
		return string(h.ID)
	}
	return h.Name
}

// printLegend explains the marks that holders of blocks have.
func printLegend(w io.Writer, blocks []node.BlockInfo) {
	has := func(mark func(h node.Holder) bool) bool {
		return slices.ContainsFunc(blocks, func(b node.BlockInfo) bool { return slices.ContainsFunc(b.Holders, mark) })
	}
	var legend []string
	if has(func(h node.Holder) bool { return h.Keeper }) {
		legend = append(legend, "* keeper: does not drop its replica alone")
	}
	for _, c := range []struct {
		class shoal.Class
		means string
	}{
		{shoal.LastInZone, "the other replicas are in other zones"},
		{shoal.Surplus, "another node of the zone has a replica"},
		{shoal.Excess, "there are more replicas than wanted"},
	} {
		if has(func(h node.Holder) bool { return h.Class == c.class.String() }) {
			legend = append(legend, c.class.String()+": "+c.means)
		}
	}
	if len(legend) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(legend, "\n"))
	}
}
