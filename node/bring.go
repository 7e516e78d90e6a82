package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
	"github.com/shoal-mesh/shoal/ufs"
)

var errStalled = errors.New("no progress")

// bring lands every chunk of ft, from whichever source the directory names, and resumes
// with the next source where one fails.
func (r *Fetcher) bring(ctx context.Context, ft *fetch, answer replicas.Answer) error {
	var avoid []replicas.Avoid
	for range 5 {
		if answer.Kind == replicas.Fill || len(answer.Nodes) == 0 {
			break
		}
		if answer.Kind == replicas.Held {
			ft.announced = answer.Sum
		}
		for _, from := range answer.Nodes {
			err := r.fromBusyPeer(ctx, ft, from, answer.Kind)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.stats.peerErrors.Add(1)
			avoid = append(avoid, replicas.Avoid{Node: from, Reason: reason(err)})
		}
		answer = r.where.Locate(ctx, []shoal.Key{ft.key}, avoid)[0]
	}
	return r.fromUFS(ctx, ft, answer.Lease)
}

// reason says what the directory should make of a failed transfer: a peer that has not got
// the block, or has a bad one, is no holder; one that did not answer may well be.
func reason(err error) replicas.Reason {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errBadChunk) {
		return replicas.NotFound
	}
	return replicas.Unreachable
}

// fromBusyPeer is fromPeer that waits its turn: a peer that serves as many blocks as it may
// has the block all the same, and a read of the UFS would cost more than the wait.
func (r *Fetcher) fromBusyPeer(ctx context.Context, ft *fetch, from shoal.NodeID, kind replicas.Kind) error {
	err := r.fromPeer(ctx, ft, from, kind)
	for pause := 2 * time.Millisecond; errors.Is(err, peer.ErrBusy) && pause < r.cfg.SlowPeer/2; pause *= 2 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = r.fromPeer(ctx, ft, from, kind)
	}
	return err
}

// fromPeer streams what is missing of ft from a holder or its filler.
func (r *Fetcher) fromPeer(ctx context.Context, ft *fetch, from shoal.NodeID, kind replicas.Kind) error {
	limit := r.cfg.SlowFill
	if kind == replicas.Held {
		limit = r.patience()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := time.AfterFunc(limit, func() { stop(errStalled) })
	defer watch.Stop()

	s := &sink{fetch: ft, stats: &r.stats, begun: time.Now(), arrived: func() { watch.Reset(limit) }}
	err := r.peers.Fetch(ctx, from, ft.key, len(ft.buf), ft.next(), s)
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			r.stats.hedged.Add(1)
			r.answered(limit)
			return fmt.Errorf("fetch %v from %s: %w", ft.key, from, errStalled)
		}
		return err
	}
	if kind == replicas.Held {
		r.answered(s.first)
	}
	if ft.next() < len(ft.sums) {
		return fmt.Errorf("fetch %v from %s: %w", ft.key, from, io.ErrUnexpectedEOF)
	}
	return nil
}

// patience returns how long a holder may bring nothing: twenty times what holders have
// taken lately for their first chunk, within bounds. Giving up too early sends the read to
// the UFS, which is what the mesh is there to spare.
func (r *Fetcher) patience() time.Duration {
	lately := time.Duration(r.latency.Load())
	if lately == 0 {
		return r.cfg.SlowPeer
	}
	return min(r.cfg.SlowPeer, max(r.cfg.SlowPeer/4, 20*lately))
}

// answered notes that a holder took this long for its first chunk.
func (r *Fetcher) answered(took time.Duration) {
	lately := r.latency.Load()
	r.latency.Store(lately + (int64(took)-lately)/8)
}

// fromUFS reads what is missing of ft from the UFS, keeping the lease alive meanwhile.
func (r *Fetcher) fromUFS(ctx context.Context, ft *fetch, lease time.Duration) error {
	e, first := ft.entry, ft.next()
	off := int64(ft.key.Index)*shoal.BlockSize + int64(first)*shoal.ChunkSize
	length := int64(len(ft.buf) - first*shoal.ChunkSize)
	err := r.stream(ctx, ft, e, off, length, lease)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, ufs.ErrVersion), errors.Is(err, fs.ErrNotExist):
		// The name has moved on: an open file of the old version is stale.
		r.sources.Expire(e.ID)
		return fmt.Errorf("read %s: %w: %w", e.Path, syscall.ESTALE, err)
	}
	return fmt.Errorf("read %s of mount %s: %w", e.Path, e.Mount, err)
}

func (r *Fetcher) stream(ctx context.Context, ft *fetch, e shoal.Entry, off, length int64, lease time.Duration) error {
	from := r.sources.FS(e)
	if from == nil {
		return fmt.Errorf("no mount for %s: %w", e.Path, fs.ErrNotExist)
	}
	body, err := from.Open(ctx, e.Source, e.Info.Version, off, length)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // only read from: nothing is lost
	renewed := time.Now()
	for i := ft.next(); i < len(ft.sums); i++ {
		n, err := io.ReadFull(body, ft.chunk(i))
		r.stats.bytes[shoal.TierUFS].Add(int64(n))
		if err != nil {
			return fmt.Errorf("bytes %d+%d: %w", off, length, err)
		}
		if err := ft.land(i, shoal.ChunkSum(ft.key, i, ft.chunk(i)), shoal.TierUFS); err != nil {
			return err
		}
		if lease > 0 && time.Since(renewed) > lease/3 {
			r.where.Renew(ft.key)
			renewed = time.Now()
		}
	}
	return nil
}

// A sink lands the chunks of one peer transfer.
type sink struct {
	*fetch
	stats   *fetchStats
	begun   time.Time
	first   time.Duration // until the first chunk
	arrived func()
}

func (s *sink) Chunk(i int) []byte { return s.chunk(i) }

func (s *sink) Arrived(i int, sum shoal.Sum) error {
	if s.first == 0 {
		s.first = time.Since(s.begun)
	}
	s.arrived()
	if err := s.land(i, sum, shoal.TierPeer); err != nil {
		s.stats.badChunks.Add(1)
		return err
	}
	s.stats.bytes[shoal.TierPeer].Add(int64(len(s.chunk(i))))
	return nil
}
