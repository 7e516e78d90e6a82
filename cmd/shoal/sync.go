package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func syncCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "sync PATH", Short: "Have every node see what has changed at a path of its under file system", Args: cobra.ExactArgs(1),
		Long: `Ask the under file system for what is at a path of the namespace, on every live node, however long
metadata.ttl would have what is known of it believed. For a file that is one request for each
node, for a directory one listing for each; directories below it are not asked for. The verb returns
when all nodes have done so: from then on what is opened on them is what there was, or newer, and
what has been removed is gone. Who has the old version of a file open keeps it.

The exit code is 1 if a node could not do it; it goes on with what it knew.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		var s node.SyncStatus
		path := "/v1/sync?" + url.Values{"path": args}.Encode()
		if err := newClient(*socket).call(c.Context(), http.MethodPost, path, &s); err != nil {
			return fmt.Errorf("sync %s: %w", args[0], err)
		}
		if err := output(c, asJSON, s, printSync); err != nil {
			return err
		}
		failed := 0
		for _, n := range s.Nodes {
			if n.Error != "" {
				failed++
			}
		}
		if failed > 0 {
			return fmt.Errorf("sync %s: not on %d of %d nodes", args[0], failed, len(s.Nodes))
		}
		return nil
	}
	return c
}

func printSync(w io.Writer, s node.SyncStatus) {
	if !s.Exists {
		fmt.Fprintf(w, "there is nothing at %s\n", s.Path)
	}
	table(w, func(row func(...any)) {
		row("NODE", "RESULT")
		for _, n := range s.Nodes {
			result := "ok"
			if n.Error != "" {
				result = n.Error
			}
			row(n.Name, result)
		}
	})
}
