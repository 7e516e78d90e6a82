package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An epoch is one pass of all living nodes over the dataset, each in its own order.
type epoch struct {
	set    *dataset
	number int
	cfg    Config
	files  atomic.Int64 // read and verified
	wrong  atomic.Int64 // bytes
	failed atomic.Int64 // reads, on nodes that lived

	mu    sync.Mutex // guards the fields below
	first error      // of the failed reads
}

// readCold has all nodes read everything and kills the last one half-way.
func (f *fleet) readCold(ctx context.Context, set *dataset, cfg Config, r *Report) error {
	e := &epoch{set: set, number: 1, cfg: cfg}
	total := int64(len(f.agents) * len(set.files))
	cfg.Progress.Phase("cold: every node reads everything", total, false)
	victim := f.agents[len(f.agents)-1]
	half := make(chan struct{})
	var once sync.Once
	killed := make(chan error, 1)
	go func() {
		select {
		case <-half:
			cfg.Progress.Say("kill -9 of %s, half-way", victim.name)
			killed <- victim.kill(ctx)
		case <-ctx.Done():
			killed <- ctx.Err()
		}
	}()
	begun := time.Now()
	err := e.run(ctx, f, func() {
		if e.files.Load() >= total/2 {
			once.Do(func() { close(half) })
		}
	})
	took := time.Since(begun)
	once.Do(func() { close(half) })
	if err := errors.Join(err, <-killed); err != nil {
		return err
	}
	r.ColdFilesPerS = rate(e.files.Load(), took)
	r.add(e)
	return nil
}

// readWarm has the nodes that are left read everything again.
func (f *fleet) readWarm(ctx context.Context, set *dataset, cfg Config, r *Report) error {
	e := &epoch{set: set, number: 2, cfg: cfg}
	cfg.Progress.Phase("warm: the nodes that are left read it again", int64((len(f.agents)-1)*len(set.files)), false)
	begun := time.Now()
	if err := e.run(ctx, f, func() {}); err != nil {
		return err
	}
	r.WarmFilesPerS = rate(e.files.Load(), time.Since(begun))
	r.add(e)
	for _, a := range f.agents {
		if a.killed.Load() {
			continue
		}
		if _, err := a.status(ctx); err != nil {
			return fmt.Errorf("status of %s: %w", a.name, err)
		}
	}
	return nil
}

// run reads the dataset on every living node; step is called after each file.
func (e *epoch) run(ctx context.Context, f *fleet, step func()) error {
	var wg sync.WaitGroup
	for n, a := range f.agents {
		if a.killed.Load() {
			continue
		}
		work := make(chan int)
		wg.Go(func() {
			defer close(work)
			for _, i := range e.set.order(n, e.number) {
				select {
				case work <- i:
				case <-a.exited:
					return
				case <-ctx.Done():
					return
				}
			}
		})
		for range e.cfg.Readers {
			wg.Go(func() {
				buf := make([]byte, 1<<20)
				for i := range work {
					e.read(ctx, a, &e.set.files[i], buf)
					e.cfg.Progress.Add(1)
					step()
				}
			})
		}
	}
	wg.Wait()
	return ctx.Err()
}

// read reads and verifies one file on one node. What a node's own death does to its own
// readers is no failure of the mesh.
func (e *epoch) read(ctx context.Context, a *agent, f *file, buf []byte) {
	wrong, err := func() (int64, error) {
		in, err := a.open(ctx, f.name)
		if err != nil {
			return 0, err
		}
		defer func() { _ = in.Close() }() // only read from
		return f.verify(in, buf)
	}()
	switch {
	case err == nil:
		e.files.Add(1)
		e.wrong.Add(wrong)
	case ctx.Err() != nil:
	case a.ended():
	default:
		e.failed.Add(1)
		e.mu.Lock()
		if e.first == nil {
			e.first = fmt.Errorf("%s: %w", a.name, err)
		}
		e.mu.Unlock()
	}
}

// ended reports whether the agent is gone; a reader may see that before we do.
func (a *agent) ended() bool {
	select {
	case <-a.exited:
		return true
	case <-time.After(200 * time.Millisecond):
		return false
	}
}
