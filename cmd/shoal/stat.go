package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func statCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "stat PATH", Short: "Show a file's version, age and which nodes hold its blocks", Args: cobra.ExactArgs(1),
		Long: `Show one path of the namespace: its version, how long ago the under file system
confirmed it, and for each of its blocks which nodes hold a replica.`,
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
				names[i] = h.Name
			}
			if b.Filler != nil {
				names = append(names, "filling: "+b.Filler.Name)
			}
			row(b.Index, b.Length, len(b.Holders), strings.Join(names, " "))
		}
	})
}
