package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
	"github.com/shoal-mesh/shoal/node/config"
)

// A client speaks to one agent over its unix socket.
type client struct {
	socket string
	http   http.Client
}

// clientFlags adds --socket to a verb that asks an agent.
func clientFlags(c *cobra.Command) *string {
	socket := config.Defaults().Admin.Socket
	if s := os.Getenv("SHOAL_SOCKET"); s != "" {
		socket = s
	}
	return c.Flags().String("socket", socket, "the agent's admin socket (environment: SHOAL_SOCKET)")
}

func newClient(socket string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{socket: socket, http: http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// get asks for path and decodes the answer into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path+"?"+query.Encode(), v)
}

// call has the agent do something and decodes its answer into v.
func (c *client) call(ctx context.Context, method, path string, v any) (err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e node.APIError
		if json.Unmarshal(body, &e) == nil && e.Error != "" {
			return errors.New(e.Error)
		}
		return fmt.Errorf("the agent answered %s", resp.Status)
	}
	return json.Unmarshal(body, v)
}

// explain says what to do when no agent answers.
func (c *client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no agent is serving at %s: start one, or name its socket with --socket or SHOAL_SOCKET", c.socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("socket %s: %w: run as the user who runs the agent", c.socket, os.ErrPermission)
	}
	return err
}
