package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

func storeCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "store", Short: "Check, measure or rebuild a cache directory no agent has open", Args: cobra.NoArgs,
		Long: `Work on a cache directory while no agent has it open. None of these evicts a block, and
only "check --repair" and "rebuild" change anything.`,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New(`store: what is to be done? see "shoal store --help"`)}
		},
	}
	c.AddCommand(storeCheckCmd(), storeStatsCmd(), storeRebuildCmd())
	return c
}

// A storeReport is what `shoal store check` prints.
type storeReport struct {
	Dir       string         `json:"dir"`
	Crashed   bool           `json:"crashed"`
	Rebuilt   bool           `json:"rebuilt"`
	Repaired  bool           `json:"repaired"`
	Blocks    int            `json:"blocks"` // verified
	Bytes     int64          `json:"bytes"`
	Bad       []badBlock     `json:"bad"`
	Problems  []storeProblem `json:"problems"`
	Leftovers []string       `json:"leftovers"`
	Error     string         `json:"error,omitempty"` // why it did not come to its end
}

type badBlock struct {
	Key    string `json:"key"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Length int    `json:"length"`
	Cause  string `json:"cause"`
}

type storeProblem struct {
	File   string `json:"file"`
	Blocks int    `json:"blocks"`
	Cause  string `json:"cause"`
}

func storeCheckCmd() *cobra.Command {
	var opt blockstore.CheckOptions
	var rate string
	var asJSON bool
	c := &cobra.Command{
		Use: "check DIR", Short: "Read and verify every block of a cache directory", Args: cobra.ExactArgs(1),
		Long: `Read and verify every block that the index of a cache directory shows, and compare its
containers with the index. It changes nothing, unless --repair has it drop what is bad and
mend what can be mended. Leftovers are files of no container: an agent removes them.

Exit code 1 when a block is bad or a container is not as the index has it, and no repair
has taken care of it.`,
		RunE: func(c *cobra.Command, args []string) error {
			var limit shoal.Bytes
			if err := limit.UnmarshalText([]byte(rate)); err != nil {
				return usageError{fmt.Errorf("store check: --rate %s: %w", rate, err)}
			}
			opt.BytesPerSec = int64(limit)
			return storeCheck(c, args[0], opt, asJSON)
		},
	}
	c.Flags().BoolVar(&opt.Repair, "repair", false, "drop bad blocks, mend the index, remove leftovers")
	c.Flags().StringVar(&rate, "rate", "0", "read at most so many bytes a second, like 200MiB; 0: as fast as the disk")
	jsonFlag(c, &asJSON)
	return c
}

func storeCheck(c *cobra.Command, dir string, opt blockstore.CheckOptions, asJSON bool) error {
	var done func()
	opt.Progress, done = storeProgress(c.ErrOrStderr())
	found, err := blockstore.Check(c.Context(), dir, opt)
	done()
	if err != nil && found.Blocks == 0 {
		return fmt.Errorf("store: %w", err)
	}
	r := storeReportOf(dir, found, err)
	if oerr := output(c, asJSON, r, printStoreReport); oerr != nil {
		return oerr
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if wrong := len(r.Bad) + len(r.Problems); wrong > 0 && !r.Repaired {
		return fmt.Errorf("store check: %d bad blocks, %d containers in disorder", len(r.Bad), len(r.Problems))
	}
	return nil
}

// storeReportOf returns the printed form of a report; err is why it is not whole.
func storeReportOf(dir string, found blockstore.Report, err error) storeReport {
	r := storeReport{
		Dir: dir, Crashed: found.Crashed, Rebuilt: found.Rebuilt, Repaired: found.Repaired, Blocks: found.Blocks, Bytes: found.Bytes,
		Bad: []badBlock{}, Problems: []storeProblem{}, Leftovers: append([]string{}, found.Leftovers...),
	}
	for _, b := range found.Bad {
		r.Bad = append(r.Bad, badBlock{b.Key.String(), b.File, b.Offset, b.Length, b.Err.Error()})
	}
	for _, p := range found.Problems {
		r.Problems = append(r.Problems, storeProblem{p.File, p.Blocks, p.Err.Error()})
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func printStoreReport(w io.Writer, r storeReport) {
	if len(r.Bad) > 0 {
		table(w, func(row func(...any)) {
			row("BAD BLOCK", "FILE", "OFFSET", "LENGTH", "CAUSE")
			for _, b := range r.Bad {
				row(b.Key, b.File, b.Offset, b.Length, b.Cause)
			}
		})
		fmt.Fprintln(w)
	}
	if len(r.Problems) > 0 {
		table(w, func(row func(...any)) {
			row("CONTAINER", "BLOCKS LOST", "CAUSE")
			for _, p := range r.Problems {
				row(p.File, p.Blocks, p.Cause)
			}
		})
		fmt.Fprintln(w)
	}
	if len(r.Leftovers) > 0 {
		fmt.Fprintln(w, "LEFTOVERS")
		for _, f := range r.Leftovers {
			fmt.Fprintln(w, f)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s blocks, %s verified: %d bad, %d containers in disorder, %d leftovers\n",
		humanize.Comma(int64(r.Blocks)), bytes(r.Bytes), len(r.Bad), len(r.Problems), len(r.Leftovers))
	if r.Crashed {
		fmt.Fprintln(w, "the last run did not end well: a power loss then may be why a block is bad")
	}
	if r.Rebuilt {
		fmt.Fprintln(w, "the index was lost and has been made anew")
	}
	if r.Repaired && len(r.Bad)+len(r.Problems)+len(r.Leftovers) > 0 {
		fmt.Fprintln(w, "repaired")
	}
}

// storeProgress returns what shows progress on a terminal, and what ends it. Elsewhere it shows
// nothing.
func storeProgress(w io.Writer) (show func(blockstore.Progress), done func()) {
	p := newProgress(w)
	if !p.tty {
		return func(blockstore.Progress) {}, func() {}
	}
	phase, at := "", int64(0)
	show = func(now blockstore.Progress) {
		name, total, reached := "containers", int64(now.Total), int64(now.Done)
		if now.TotalBytes > 0 {
			name, total, reached = "blocks", now.TotalBytes, now.Bytes
		}
		if name != phase {
			p.Phase(name, total, now.TotalBytes > 0)
			phase, at = name, 0
		}
		p.Add(reached - at)
		at = reached
	}
	return show, p.finish
}

// A storeStats is what `shoal store stats` prints.
type storeStats struct {
	Dir            string         `json:"dir"`
	Blocks         int            `json:"blocks"`
	Bytes          int64          `json:"bytes"`           // what the blocks take
	ContainerBytes int64          `json:"container_bytes"` // what the containers take, free slots included
	Slabs          int            `json:"slabs"`
	Files          int            `json:"files"` // sparse containers
	Classes        []storeClass   `json:"classes"`
	Datasets       []storeDataset `json:"datasets"`
}

type storeClass struct {
	SlotBytes int64 `json:"slot_bytes"`
	Slabs     int   `json:"slabs"`
	Slots     int   `json:"slots"`
	Free      int   `json:"free"`
}

type storeDataset struct {
	Name   string `json:"name"`
	Blocks int    `json:"blocks"`
	Bytes  int64  `json:"bytes"`
}

func storeStatsCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "stats DIR", Short: "Show what is in a cache directory", Args: cobra.ExactArgs(1),
		Long: `Show how many blocks the index of a cache directory has, and what they take by size
class and by dataset. It reads the index only and changes nothing.`,
		RunE: func(c *cobra.Command, args []string) error {
			st, err := blockstore.Inspect(args[0])
			if err != nil {
				return fmt.Errorf("store: %w", err)
			}
			return output(c, asJSON, storeStatsOf(args[0], st), printStoreStats)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func storeStatsOf(dir string, st blockstore.Stats) storeStats {
	d := st.Disks[0]
	s := storeStats{
		Dir: dir, Blocks: st.Blocks, Bytes: st.Bytes, ContainerBytes: d.ContainerBytes, Slabs: d.Slabs, Files: d.Files,
		Classes: []storeClass{}, Datasets: []storeDataset{},
	}
	for _, c := range d.Classes {
		s.Classes = append(s.Classes, storeClass(c))
	}
	for _, set := range st.Datasets {
		s.Datasets = append(s.Datasets, storeDataset{set.Name, set.Blocks, set.Bytes})
	}
	return s
}

func printStoreStats(w io.Writer, s storeStats) {
	fmt.Fprintf(w, "%s blocks take %s; %d slabs and %s sparse containers take %s\n",
		humanize.Comma(int64(s.Blocks)), bytes(s.Bytes), s.Slabs, humanize.Comma(int64(s.Files)), bytes(s.ContainerBytes))
	if len(s.Classes) > 0 {
		fmt.Fprintln(w)
		table(w, func(row func(...any)) {
			row("SLOT", "SLABS", "SLOTS", "FREE", "FULL")
			for _, c := range s.Classes {
				row(bytes(c.SlotBytes), c.Slabs, c.Slots, c.Free, percent(int64(c.Slots-c.Free), int64(c.Slots)))
			}
		})
	}
	if len(s.Datasets) > 0 {
		fmt.Fprintln(w)
		table(w, func(row func(...any)) {
			row("DATASET", "BLOCKS", "BYTES")
			for _, d := range s.Datasets {
				row(cmp.Or(d.Name, "-"), d.Blocks, bytes(d.Bytes))
			}
		})
	}
}

// A storeRebuilt is what `shoal store rebuild` prints.
type storeRebuilt struct {
	storeStats
	Unreadable int `json:"unreadable"` // places that could not be read
}

func storeRebuildCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "rebuild DIR", Short: "Make the index of a cache directory anew from its containers", Args: cobra.ExactArgs(1),
		Long: `Make the index of a cache directory anew from its containers, whatever the old one says,
and show what is there then. Blocks evicted lately may come back; what lies where the disk
cannot be read is lost. One that is interrupted is begun anew by the next agent, or the next
rebuild.`,
		RunE: func(c *cobra.Command, args []string) error {
			show, done := storeProgress(c.ErrOrStderr())
			begun, unreadable := time.Now(), 0
			st, err := blockstore.Rebuild(c.Context(), args[0], func(p blockstore.Progress) {
				unreadable = p.Unreadable
				show(p)
			})
			done()
			if err != nil {
				return fmt.Errorf("store: %w", err)
			}
			return output(c, asJSON, storeRebuilt{storeStatsOf(args[0], st), unreadable}, func(w io.Writer, s storeRebuilt) {
				printStoreStats(w, s.storeStats)
				if s.Unreadable > 0 {
					fmt.Fprintf(w, "\n%s places could not be read: the blocks there are lost\n", humanize.Comma(int64(s.Unreadable)))
				}
				fmt.Fprintf(w, "\nmade the index anew in %v\n", time.Since(begun).Round(time.Millisecond))
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}
