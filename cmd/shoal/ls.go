package main

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func lsCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "ls [PATH]", Short: "List a directory and what of it is cached on this node", Args: cobra.MaximumNArgs(1),
		Long: `List a directory of the namespace, or one file: size, how much of it is in this node's
cache, how long ago the under file system confirmed it, and the name.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		path := "/"
		if len(args) > 0 {
			path = args[0]
		}
		entries, err := listAll(c, newClient(*socket), path)
		if err != nil {
			return fmt.Errorf("ls %s: %w", path, err)
		}
		return output(c, asJSON, entries, printList)
	}
	return c
}

// listAll reads a directory page by page.
func listAll(c *cobra.Command, from *client, path string) ([]node.PathInfo, error) {
	all := []node.PathInfo{}
	after := ""
	for {
		var page []node.PathInfo
		if err := from.get(c.Context(), "/v1/ls", url.Values{"path": {path}, "after": {after}}, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < 2 { // the end, or a single file
			return all, nil
		}
		after = base(page[len(page)-1].Path)
	}
}

func printList(w io.Writer, entries []node.PathInfo) {
	table(w, func(row func(...any)) {
		row("SIZE", "CACHED", "AGE", "MODIFIED", "NAME")
		for _, e := range entries {
			if e.Dir {
				row("-", "-", age(e), date(e.ModTime), base(e.Path)+"/")
				continue
			}
			row(humanize.Comma(e.Size), percent(int64(e.BlocksCached), int64(e.Blocks)), age(e), date(e.ModTime), base(e.Path))
		}
	})
}

func base(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

func age(e node.PathInfo) string {
	d := time.Duration(e.AgeS * float64(time.Second)).Round(time.Second).String()
	if e.Stale {
		d += " stale"
	}
	return d
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
