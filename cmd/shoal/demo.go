package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/cmd/shoal/demo"
)

func demoCmd() *cobra.Command {
	var cfg demo.Config
	var jsonFile string
	c := &cobra.Command{
		Use: "demo", Short: "Run three agents on this machine over generated data and report", Args: cobra.NoArgs,
		Long: `Run the main job on this machine: generate a dataset, start three agents as three
processes, mount each, have all three read everything at once in different orders, kill one
half-way, verify every byte, and report where the bytes came from.

Without /dev/fuse, or the right to mount, the reads go through the agents' API. Nothing is
left running, mounted or on disk, also when it is interrupted.`,
		RunE: func(c *cobra.Command, _ []string) error {
			p := newProgress(c.ErrOrStderr())
			cfg.Progress = p
			if cfg.Files < 1 || cfg.Readers < 1 {
				return usageError{errors.New("demo: --files and --readers must be at least 1")}
			}
			report, err := demo.Run(c.Context(), cfg)
			p.finish()
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return writeReport(c.OutOrStdout(), report, jsonFile)
		},
	}
	f := c.Flags()
	f.StringVar(&jsonFile, "json", "", `write the report as JSON to this file ("-": standard output, instead of the text)`)
	f.StringVar(&cfg.Dir, "dir", "", "where the data goes, four times its size (default: the directory for temporary files)")
	f.IntVar(&cfg.Files, "files", 10_000, "small files of 20 to 200 KB")
	f.IntVar(&cfg.BigFiles, "big-files", 2, "big files")
	f.Int64Var(&cfg.BigSize, "big-size", 256<<20, "bytes of a big file")
	f.IntVar(&cfg.Readers, "readers", 4, "files each node reads at a time")
	f.BoolVar(&cfg.NoFUSE, "no-fuse", false, "read through the agents' API even where FUSE would work")
	return c
}

// writeReport prints the report and fails when the mesh did not do its job.
func writeReport(w io.Writer, r *demo.Report, jsonFile string) error {
	if jsonFile != "-" {
		r.Print(w)
	}
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		text = append(text, '\n')
		if jsonFile == "-" {
			_, err = w.Write(text)
		} else {
			err = os.WriteFile(jsonFile, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	if r.WrongBytes > 0 || r.FailedReads > 0 {
		return fmt.Errorf("demo: %d wrong bytes, %d failed reads", r.WrongBytes, r.FailedReads)
	}
	return nil
}

// A progress shows a bar on a terminal and a line per phase elsewhere.
type progress struct {
	w     io.Writer
	tty   bool
	bar   *progressbar.ProgressBar
	begun time.Time
	phase string
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{w: w}
	}
	info, err := f.Stat()
	return &progress{w: w, tty: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p *progress) Phase(name string, total int64, inBytes bool) {
	p.finish()
	p.phase, p.begun = name, time.Now()
	bar := io.Discard
	if p.tty {
		bar = p.w
	} else {
		if inBytes {
			fmt.Fprintf(p.w, "%s: %s\n", name, bytes(total))
		} else if total > 1 {
			fmt.Fprintf(p.w, "%s: %s\n", name, humanize.Comma(total))
		}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(bar), progressbar.OptionSetDescription(name), progressbar.OptionShowBytes(inBytes),
		progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100 * time.Millisecond),
	}
	if total >= 0 { // else nobody knows how much there is
		options = append(options, progressbar.OptionShowCount())
	}
	p.bar = progressbar.NewOptions64(total, options...)
}

func (p *progress) Add(n int64) { _ = p.bar.Add64(n) } // a bar that cannot be drawn stops nothing

func (p *progress) Say(format string, args ...any) {
	if p.tty && p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// finish ends the current phase.
func (p *progress) finish() {
	if p.bar == nil {
		return
	}
	if p.tty {
		_ = p.bar.Exit() // leaves the bar where it got to
		fmt.Fprintln(p.w)
	} else {
		fmt.Fprintf(p.w, "%s: %s\n", p.phase, time.Since(p.begun).Round(100*time.Millisecond))
	}
	p.bar = nil
}
