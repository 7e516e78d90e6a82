package replicas

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Locate asks, for each key, its home and if need be its backup home who holds the
// block, and says at once that this node intends to fill it. It returns one Answer per
// key, of kind Held, Filling or Fill. Fill with a Lease: the node must fill the block,
// Renew while it does, and Add or Release in the end. Fill without: no home answered, or
// the node has too many leases, and had better read the UFS for itself. When ctx ends first, the keys without an
// Answer are Unknown.
//
// avoid are nodes that just failed for these keys: no Answer names one of them. Those
// that said they do not have the block (NotFound) are forgotten as holders.
//
// offer says what the node will not keep if it has to fill it: an Answer of kind Fill then
// names the node to Place it on, if one wants it. With a nil offer the node keeps what it
// fills.
func (r *Runner) Locate(ctx context.Context, keys []shoal.Key, avoid []Avoid, offer *Offer) []Answer {
	answers := r.search(ctx, keys, avoid, offer, false)
	r.counts.lookups.Add(int64(len(keys)))
	for i := range answers {
		if answers[i].Kind == Fill && answers[i].Lease == 0 {
			r.counts.failOpen.Add(1)
		}
	}
	return answers
}

// Peek asks who holds or fills keys, without an intent. Its answers are of kind Held,
// Filling, Nowhere, or Unknown when no home can tell, and name all Holders.
func (r *Runner) Peek(ctx context.Context, keys []shoal.Key) []Answer {
	return r.search(ctx, keys, nil, nil, true)
}

func (r *Runner) search(ctx context.Context, keys []shoal.Key, avoid []Avoid, offer *Offer, peek bool) []Answer {
	s := NewSearch(keys, peek)
	for {
		asks, pause := s.Next(r.table.Load(), r.suspects.has)
		if len(asks) == 0 {
			return s.Answers()
		}
		for i := range asks {
			asks[i].Offer = offer
		}
		if pause {
			select {
			case <-ctx.Done():
			case <-time.After(r.cfg.RetryPause):
			}
		}
		if ctx.Err() != nil {
			return s.Answers()
		}
		r.ask(ctx, s, asks, avoid, peek)
		if ctx.Err() != nil {
			return s.Answers()
		}
	}
}

// ask puts asks to their nodes at once and feeds what they say to s.
func (r *Runner) ask(ctx context.Context, s *Search, asks []Ask, avoid []Avoid, peek bool) {
	if len(asks) == 1 {
		r.note(s, asks[0], r.askOne(ctx, asks[0], avoid, peek))
		return
	}
	answers := make([][]Answer, len(asks))
	var wg sync.WaitGroup
	self := -1
	for i, a := range asks {
		if a.To == r.self && self < 0 {
			self = i // needs no goroutine: it is answered while the others are asked
			continue
		}
		wg.Go(func() { answers[i] = r.askOne(ctx, a, avoid, peek) })
	}
	if self >= 0 {
		answers[self] = r.askOne(ctx, asks[self], avoid, peek)
	}
	wg.Wait()
	for i, a := range asks {
		r.note(s, a, answers[i])
	}
}

func (r *Runner) note(s *Search, a Ask, answers []Answer) {
	if answers == nil {
		s.Failed(a)
		return
	}
	s.Answered(a, answers)
}

// askOne returns a's answers, nil when there are none.
func (r *Runner) askOne(ctx context.Context, a Ask, avoid []Avoid, peek bool) []Answer {
	if a.To == r.self {
		r.counts.self.Add(int64(len(a.Keys)))
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.core.Ask(r.now(), a, avoid, peek, make([]Answer, 0, len(a.Keys)))
	}
	m := a.message(avoid, peek)
	reply, err := r.call(ctx, &m, r.cfg.HomeTimeout)
	if err == nil && reply.Type == MsgAnswers && len(reply.Answers) == len(a.Keys) {
		r.suspects.remove(a.To)
		return reply.Answers
	}
	if ctx.Err() == nil {
		r.suspects.add(a.To, r.cfg.SuspectFor)
		r.cfg.Logger.Debug("home did not answer", "home", string(a.To), "keys", len(a.Keys), "err", err)
	}
	return nil
}

// Coldest returns the node that would best keep a block which o offers and this node has, as
// far as it knows the others' frontiers. ok is false when nobody wants it.
func (r *Runner) Coldest(o Offer) (id shoal.NodeID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.Coldest(r.now(), o)
}
