package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
	"github.com/shoal-mesh/shoal/ufs"
)

var (
	errStalled  = errors.New("no progress")
	errBadBlock = errors.New("block is not what its filler announced")
)

// bring lands every chunk of ft, from whichever source the directory names, and resumes
// with the next source where one fails.
func (r *Fetcher) bring(ctx context.Context, ft *fetch, answer replicas.Answer) error {
	var unreachable []replicas.Avoid
	for range 5 {
		if answer.Kind == replicas.Fill || len(answer.Nodes) == 0 {
			break
		}
		failed, err := r.fromPeers(ctx, ft, answer)
		if err == nil || ctx.Err() != nil || errors.Is(err, errBadBlock) {
			return err
		}
		answer = r.where.Locate(ctx, []shoal.Key{ft.key}, append(failed, unreachable...), nil)[0]
		r.admit(ctx, ft, answer)
		for _, a := range failed {
			if a.Reason == replicas.Unreachable { // the others may yet be fillers
				unreachable = append(unreachable, a)
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := r.fromUFS(ctx, ft, answer.Lease)
	if !errors.Is(err, ufs.ErrUnavailable) {
		return err
	}
	// The UFS does not answer: a peer that was slow or busy is better than nothing.
	for _, a := range unreachable {
		slow := replicas.Answer{Kind: replicas.Filling, Nodes: []shoal.NodeID{a.Node}}
		if _, peerErr := r.fromPeers(ctx, ft, slow); peerErr == nil {
			return nil
		}
	}
	return err
}

// fromPeers tries the nodes of an answer, best first, and returns those that failed. One
// that serves as many blocks as it may is asked again when the others have failed: it has
// the block, and a read of the UFS would cost more than the wait.
func (r *Fetcher) fromPeers(ctx context.Context, ft *fetch, answer replicas.Answer) (failed []replicas.Avoid, err error) {
	left := 2 * r.cfg.SlowPeer
	if answer.Kind == replicas.Filling {
		left = r.cfg.SlowFill
	}
	nodes := answer.Nodes
	for pause := 2 * time.Millisecond; len(nodes) > 0; pause = min(2*pause, 100*time.Millisecond) {
		var busy []shoal.NodeID
		for _, from := range nodes {
			if err = r.fromPeer(ctx, ft, from, answer); err == nil || ctx.Err() != nil {
				return nil, err
			}
			if errors.Is(err, peer.ErrBusy) && left > 0 {
				busy = append(busy, from)
				continue
			}
			r.stats.peerErrors.Add(1)
			failed = append(failed, replicas.Avoid{Node: from, Reason: reason(err)})
			if errors.Is(err, errBadBlock) {
				// Some readers have chunks of it, so this fetch is at its end; the others
				// begin another. The home hears first who made the block up.
				r.where.Locate(ctx, []shoal.Key{ft.key}, failed, nil)
				return failed, err
			}
		}
		if nodes = busy; len(nodes) > 0 {
			left -= pause
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	return failed, err
}

// reason says what the directory should make of a failed transfer: a peer that has not got
// the block, or has a bad one, is no holder; one that did not answer may well be.
func reason(err error) replicas.Reason {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errBadChunk) || errors.Is(err, errBadBlock) {
		return replicas.NotFound
	}
	return replicas.Unreachable
}

// fromPeer streams what is missing of ft from a holder or its filler.
func (r *Fetcher) fromPeer(ctx context.Context, ft *fetch, from shoal.NodeID, answer replicas.Answer) error {
	limit := r.cfg.SlowFill
	if answer.Kind == replicas.Held {
		limit = r.patience()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &watch{limit: limit, most: r.cfg.SlowFill, peer: r.pulses.peer(from), giveUp: func() { stop(errStalled) }}
	defer w.end()

	s := &sink{fetch: ft, announced: answer.Sum, stats: &r.stats, watch: w}
	err := r.peers.Fetch(ctx, from, ft.key, peer.Part{Length: ft.length, First: ft.next(), End: ft.end}, s)
	if errors.Is(err, errBadBlock) {
		r.stats.badBlocks.Add(1)
		r.cfg.Logger.Warn("a peer's block is not what its filler announced", "key", ft.key, "path", ft.entry.Path, "from", from)
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			r.stats.hedged.Add(1)
			r.answered(limit)
			return fmt.Errorf("fetch %v from %s: %w", ft.key, from, errStalled)
		}
		return err
	}
	if answer.Kind == replicas.Held {
		r.answered(s.first)
		kind := fromFar
		if r.cfg.Near(from) {
			kind = fromNear
		}
		r.cost(kind, ft.bytes(), time.Since(s.begun))
	}
	if ft.next() < ft.end {
		return fmt.Errorf("fetch %v from %s: %w", ft.key, from, io.ErrUnexpectedEOF)
	}
	return nil
}

// fromUFS reads what is missing of ft from the UFS, keeping the lease alive meanwhile.
func (r *Fetcher) fromUFS(ctx context.Context, ft *fetch, lease time.Duration) error {
	e, first := ft.entry, ft.next()
	off := int64(ft.key.Index)*shoal.BlockSize + int64(first)*shoal.ChunkSize
	length := int64(ft.bytes() - (first-ft.first)*shoal.ChunkSize)
	if lease > 0 {
		defer r.renewing(ft.key, lease/3)()
	}
	begun := time.Now()
	err := r.stream(ctx, ft, e, off, length)
	if err == nil {
		r.cost(fromUFS, int(length), time.Since(begun))
	}
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

// renewing keeps the lease on key until what it returns is called. It does not wait for
// chunks to land: a UFS that is slow to begin would else lose its filler.
func (r *Fetcher) renewing(key shoal.Key, every time.Duration) (stop func()) {
	tick := time.NewTicker(every)
	done := make(chan struct{})
	r.wg.Go(func() {
		for {
			select {
			case <-tick.C:
				r.where.Renew(key)
			case <-done:
				return
			}
		}
	})
	return func() {
		tick.Stop()
		close(done)
	}
}

// stream lands bytes [off, off+length) of the file from the UFS.
func (r *Fetcher) stream(ctx context.Context, ft *fetch, e shoal.Entry, off, length int64) error {
	from := r.sources.FS(e)
	if from == nil {
		return fmt.Errorf("no mount for %s: %w", e.Path, fs.ErrNotExist)
	}
	body, err := from.Open(ctx, e.Source, e.Info.Version, off, length)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // only read from: nothing is lost
	bytes := ft.bytes()
	filled := (ft.next() - ft.first) * shoal.ChunkSize
	for i := ft.next(); i < ft.end; {
		// As much as has come in at once, rather than a call for each chunk.
		n, err := body.Read(ft.buf[filled:min(bytes, filled+readAtOnce)])
		filled += n
		r.stats.bytes[shoal.TierUFS].Add(int64(n))
		for ; i < ft.end && filled >= min(bytes, (i+1-ft.first)*shoal.ChunkSize); i++ {
			ft.land(i, shoal.ChunkSum(ft.key, i, ft.chunk(i)), shoal.TierUFS)
		}
		if err != nil && i < ft.end {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("bytes %d+%d: %w", off, length, err)
		}
	}
	return nil
}

// readAtOnce is how many bytes one read of a UFS's stream asks for.
const readAtOnce = 1 << 20

// A sink lands the chunks of one peer transfer.
type sink struct {
	*fetch
	announced shoal.Sum // of the whole block; 0 when nobody said
	stats     *fetchStats
	begun     time.Time
	first     time.Duration // until the first chunk
	watch     *watch
}

func (s *sink) Begin() {
	s.begun = time.Now()
	s.watch.begin()
}

func (s *sink) Chunk(i int) []byte { return s.chunk(i) }

func (s *sink) Arrived(i int, sum shoal.Sum) error {
	if s.first == 0 {
		s.first = time.Since(s.begun)
	}
	s.watch.chunk()
	if i == len(s.sums)-1 && s.announced != 0 && s.span == s.whole() {
		// Each chunk fits the sum beside it; a holder that made up both is found here.
		if got := shoal.BlockSum(append(slices.Clone(s.sums[:i]), sum)); got != s.announced {
			return fmt.Errorf("block %v: sum %08x, want %08x: %w", s.key, got, s.announced, errBadBlock)
		}
	}
	if err := s.check(i, sum); err != nil {
		s.stats.badChunks.Add(1)
		return err
	}
	s.land(i, sum, shoal.TierPeer)
	s.stats.bytes[shoal.TierPeer].Add(int64(len(s.chunk(i))))
	return nil
}
