package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/node"
	"github.com/shoal-mesh/shoal/node/config"
)

func agentCmd() *cobra.Command {
	var file string
	var show, asJSON bool
	c := &cobra.Command{
		Use: "agent --config FILE", Short: "Run an agent", Args: cobra.NoArgs,
		Long: `Run an agent: join the mesh, open the cache, mount the namespace, serve until a signal.

SIGTERM and SIGINT end it in order: the mount first, then the ports, then the cache. With
--print-config it prints the config as it would be used, every default filled in, and ends.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{fmt.Errorf("agent: --config FILE is missing; docs/configuration.md describes the file")}
			}
			cfg, err := config.Load(file)
			if err != nil {
				return usageError{err}
			}
			if show {
				return printConfig(c.OutOrStdout(), cfg, asJSON)
			}
			return runAgent(c.Context(), cfg, c.ErrOrStderr())
		},
	}
	c.Flags().StringVarP(&file, "config", "c", os.Getenv("SHOAL_CONFIG"), "the config file (environment: SHOAL_CONFIG)")
	c.Flags().BoolVar(&show, "print-config", false, "print the effective config and end")
	jsonFlag(c, &asJSON)
	return c
}

// runAgent runs an agent until ctx ends.
func runAgent(ctx context.Context, cfg *config.Config, logs io.Writer) error {
	raiseProcessors()
	a, err := node.Start(ctx, cfg, node.Options{Version: buildInfo().Version, Logger: newLogger(cfg.Log, logs)})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return a.Close()
	case <-a.Done():
		return errors.Join(fmt.Errorf("mount %s went away: did somebody unmount it?", strings.Join(cfg.Mount.Paths(), " or ")), a.Close())
	}
}

// printConfig prints the config as it would be used, without the secrets it names.
func printConfig(w io.Writer, cfg *config.Config, asJSON bool) error {
	effective := cfg.Effective
	if asJSON {
		effective = cfg.EffectiveJSON
	}
	text, err := effective()
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// newLogger returns the logger the config asks for.
func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // config has checked it
	}
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
