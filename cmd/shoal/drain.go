package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
)

func drainCmd() *cobra.Command {
	var asJSON, cancel, background bool
	c := &cobra.Command{
		Use: "drain", Short: "Hand this node's blocks over, so that it can leave without a loss", Args: cobra.NoArgs,
		Long: `Make the blocks of this node safe elsewhere before it is stopped. The node gives up its part
of the directory, stores nothing more, lets other holders keep the blocks they share, and copies
those of which it has the last replica to nodes that have room, or something colder. It goes on to
serve reads. What fits nowhere is left, and is read from the under file system again one day.

The verb waits and shows how far it is; with --background it only begins. An interrupt ends the
waiting, not the drain: that is --cancel, after which the node takes blocks again.`,
	}
	socket := clientFlags(c)
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&cancel, "cancel", false, "end a drain: the node serves as before")
	c.Flags().BoolVar(&background, "background", false, "do not wait for its end")
	c.MarkFlagsMutuallyExclusive("cancel", "background")
	c.RunE = func(c *cobra.Command, _ []string) error {
		from := newClient(*socket)
		method := http.MethodPost
		if cancel {
			method = http.MethodDelete
		}
		var s node.DrainStatus
		err := from.call(c.Context(), method, "/v1/drain", &s)
		if err == nil && !cancel && !background {
			s, err = awaitDrain(c.Context(), from, c.ErrOrStderr(), s)
		}
		if err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		return output(c, asJSON, s, printDrain)
	}
	return c
}

// awaitDrain waits for the end of a drain and shows how far it is, on a terminal.
func awaitDrain(ctx context.Context, from *client, w io.Writer, s node.DrainStatus) (node.DrainStatus, error) {
	tty := newProgress(w).tty
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for s.State == "draining" {
		if tty {
			fmt.Fprintf(w, "\r%d of %d blocks safe, %d copied, %d fit nowhere yet ", s.Safe, s.Blocks, s.Copied, s.Left)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, ctx.Err()
		}
		if err := from.get(ctx, "/v1/drain", nil, &s); err != nil {
			return s, err
		}
	}
	if tty {
		fmt.Fprint(w, "\r\033[K")
	}
	return s, nil
}

func printDrain(w io.Writer, s node.DrainStatus) {
	table(w, func(row func(...any)) {
		row("state", s.State)
		row("blocks here", s.Blocks)
		row("safe elsewhere", s.Safe)
		row("copied", s.Copied)
		row("fit nowhere", s.Left)
	})
}
