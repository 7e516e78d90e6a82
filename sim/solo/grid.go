package solo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/trace"
)

// A Grid is a trace to go through caches of several policies and sizes.
type Grid struct {
	// Open begins to read the trace from its start.
	Open func() (trace.Source, error)
	// Policies are of those that Policies returns.
	Policies []string
	// Sizes are of what ParseSize returns.
	Sizes []Size
	// Unit has each block count for one, and sizes be numbers of blocks.
	Unit bool
	// Requests is how many are replayed; 0: all.
	Requests int64
	// Warmup is for how long, from the first request, nothing is counted.
	Warmup time.Duration
	// Jobs is how many caches are replayed at a time. At least 1.
	Jobs int
	// Done is called after each, one at a time. Default: nothing.
	Done func()
}

// A Size is how large a cache is: a number of bytes, or a share of all that the trace asks for.
type Size struct {
	Text  string
	bytes int64
	share float64
}

// ParseSize reads "10%", "64MiB", or a number of bytes.
func ParseSize(text string) (Size, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		share, err := strconv.ParseFloat(number, 64)
		if err != nil || !(share > 0 && share <= 100) {
			return Size{}, fmt.Errorf("size %q: want a share above 0%% to 100%%", text)
		}
		return Size{Text: text, share: share / 100}, nil
	}
	var b shoal.Bytes
	if err := b.UnmarshalText([]byte(text)); err != nil || b < 1 {
		return Size{}, fmt.Errorf("size %q: want a share like 10%%, or a size like 64MiB", text)
	}
	return Size{Text: text, bytes: int64(b)}, nil
}

// A Row is what became of the trace in one cache.
type Row struct {
	Policy   string  `json:"policy"`
	Size     string  `json:"size"`     // as it was asked for
	Capacity int64   `json:"capacity"` // bytes, or blocks
	Stats    Stats   `json:"stats"`    // after the warm-up
	Misses   float64 `json:"miss_ratio"`
	Bytes    float64 `json:"byte_miss_ratio"`
	Speed    float64 `json:"-"` // requests per second, decoding included: differs from run to run
}

// Run replays the trace through each cache: the policies in order, of each the sizes. Where a
// size is a share, the trace is read once before to find out how much it asks for. A trace that
// lacks its end is replayed as far as it goes; the error says so, beside the rows.
func (g Grid) Run(ctx context.Context) ([]Row, error) {
	whole, cut, err := g.whole(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(g.Policies)*len(g.Sizes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, g.Jobs))
	var mu sync.Mutex // guards Done and cut
	for i := range rows {
		size := g.Sizes[i%len(g.Sizes)]
		row := &rows[i]
		*row = Row{Policy: g.Policies[i/len(g.Sizes)], Size: size.Text, Capacity: max(size.bytes, int64(size.share*float64(whole)))}
		group.Go(func() error {
			err := g.replay(ctx, row)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, trace.ErrTruncated) {
				cut, err = err, nil
			}
			if err == nil && g.Done != nil {
				g.Done()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return rows, cut
}

// whole returns how much the trace asks for, if any size is a share of it.
func (g Grid) whole(ctx context.Context) (whole int64, cut, err error) {
	share := false
	for _, s := range g.Sizes {
		share = share || s.share > 0
	}
	if !share {
		return 0, nil, nil
	}
	all := Row{Policy: "fifo", Capacity: 1 << 62}
	g.Warmup = 0
	err = g.replay(ctx, &all)
	if errors.Is(err, trace.ErrTruncated) {
		cut, err = err, nil
	}
	if g.Unit {
		return all.Stats.Blocks, cut, err
	}
	return all.Stats.DistinctBytes, cut, err
}

// batchLen is how many records are read at a time.
const batchLen = 4096

// replay fills in a row.
func (g Grid) replay(ctx context.Context, row *Row) error {
	c, err := New(Config{Policy: row.Policy, Capacity: max(1, row.Capacity), Unit: g.Unit})
	if err != nil {
		return err
	}
	src, err := g.Open()
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // it was only read
	begun, left := time.Now(), g.Requests
	batch := make([]trace.Record, batchLen)
	for err == nil && (g.Requests == 0 || left > 0) {
		if err = ctx.Err(); err != nil {
			return err
		}
		var n int
		n, err = src.Next(batch)
		if g.Requests > 0 {
			n = int(min(int64(n), left))
			left -= int64(n)
		}
		c.warm(batch[:n], g.Warmup)
	}
	s := c.Stats()
	row.Stats = s
	if s.Requests > 0 {
		row.Misses = 1 - float64(s.Hits)/float64(s.Requests)
		row.Bytes = 1 - float64(s.HitBytes)/float64(max(1, s.Bytes))
		row.Speed = float64(s.Requests) / time.Since(begun).Seconds()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// warm is Replay that forgets what it has counted when the warm-up is over.
func (c *Cache) warm(records []trace.Record, warmup time.Duration) {
	if warmup == 0 || c.warmed {
		c.Replay(records)
		return
	}
	for i := range records {
		if c.begun && time.Duration(records[i].Time-c.start)*time.Microsecond >= warmup {
			c.Replay(records[:i])
			c.stats = Stats{DistinctBytes: c.stats.DistinctBytes}
			c.warmed = true
			c.Replay(records[i:])
			return
		}
		if !c.begun {
			c.begun, c.start = true, records[i].Time
		}
	}
	c.Replay(records)
}
