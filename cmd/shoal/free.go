package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func freeCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "free PATH", Short: "Give up this node's replicas of a file, or of all below a directory", Args: cobra.ExactArgs(1),
		Long: `Give up what this node has in its cache of one file, or of all files below a directory, before
the room is needed. Other nodes keep their replicas, and those that are the last of their blocks in
the mesh stay here: freed on all nodes, each block is still held by one. Nothing is lost
for readers: what they ask for comes from another node, and is cached here again if it is worth it.

The verb waits some seconds for the homes of the blocks, which say what is not the last. What they
have not answered by then is given up when they do.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		var s node.FreeStatus
		path := "/v1/free?" + url.Values{"path": args}.Encode()
		if err := newClient(*socket).call(c.Context(), http.MethodPost, path, &s); err != nil {
			return fmt.Errorf("free %s: %w", args[0], err)
		}
		return output(c, asJSON, s, printFree)
	}
	return c
}

func printFree(w io.Writer, s node.FreeStatus) {
	table(w, func(row func(...any)) {
		row("blocks here", s.Blocks)
		row("given up", s.Gone)
		row("kept, as the last", s.Kept)
		row("not answered yet", s.Waiting)
	})
}
