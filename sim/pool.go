package sim

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Progress is how far a Sweep or a Recommend is. It is told when runs are planned, and after each.
type Progress struct {
	Done, Total int // runs; of a Recommend Total may grow
	Kept        int // of Done, those whose results were there already
}

// A pool makes runs, several at a time, and counts them.
type pool struct {
	jobs     int            // default: as many as there are processors
	progress func(Progress) // default: nobody is told

	mu sync.Mutex // guards at, and calls of progress
	at Progress
}

// plan adds runs to those that are to come.
func (p *pool) plan(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at.Total += n
	p.tell()
}

// each calls run with 0 to n-1, and returns the error of the one that failed first, which ends
// the others. run tells whether it found its result made already.
func (p *pool) each(ctx context.Context, n int, run func(ctx context.Context, i int) (kept bool, err error)) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.jobs)
	if p.jobs < 1 {
		group.SetLimit(runtime.GOMAXPROCS(0))
	}
	for i := range n {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return groupCtx.Err()
			}
			kept, err := run(groupCtx, i)
			if err == nil {
				p.done(kept)
			}
			return err
		})
	}
	err := group.Wait()
	if ctx.Err() != nil { // which run it met tells nothing
		return ctx.Err()
	}
	return err
}

// done counts a run.
func (p *pool) done(kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at.Done++
	if kept {
		p.at.Kept++
	}
	p.tell()
}

func (p *pool) tell() {
	if p.progress != nil {
		p.progress(p.at)
	}
}
