package namespace

import (
	"context"
	"time"
)

// minRelist is the least number of Stats that a new listing is worth. Where a listing is a
// single page, it keeps the one name that is looked up again and again from costing it.
const minRelist = 2

// relistCost returns how many Stats a new listing is worth, which is how many pages it is
// likely to have.
func (l *listRecord) relistCost() int64 {
	return max(minRelist, (l.entries+pageSize-1)/pageSize)
}

// expired reports whether there was a complete listing, l, but less than ttl before now
// there was none.
func (l *listRecord) expired(ttl time.Duration, now time.Time) bool {
	return l != nil && !l.within(ttl, now)
}

// due returns the listing that a lookup of a name in d waits for, in place of a Stat of
// its own; nil if it must Stat. n.mu is held.
//
// It is the ski rental problem: nobody knows how many more names of d will be looked up
// before a new listing would expire in its turn, and a page is one request as a Stat is.
// Who rents (Stats) until the price of buying (the listing) is spent, and then buys, pays
// at most twice what the optimum pays that knows the future, and no rule without luck
// does better (Karlin, Manasse, Rudolph, Sleator: Competitive snoopy caching,
// Algorithmica 3, 1988). For a listing of a single page it is three times: see minRelist.
//
// A directory never listed is left to Stats: nothing says how large it is. So is one
// whose mount is down: a Stat is the cheaper probe.
func (n *Namespace) due(d *dir) *listing {
	last, now := d.listed.Load(), n.cfg.Now()
	if !last.expired(d.mount.TTL, now) || d.mount.isDown() {
		return nil
	}
	if l := n.lists[d.id]; l != nil {
		return l // paid for, be it by a ReadDir
	}
	if d.spent < last.relistCost() || d.mount.admit(now, false) != nil {
		return nil
	}
	return n.startList(d)
}

// await waits until l, a listing of d, has something to say of name, and returns that:
// that it is there as soon as its page is recorded, that it is not when l is complete.
// It fails if l does, or if l records nothing for as long as patience.
func (n *Namespace) await(ctx context.Context, d *dir, l *listing, name string, patience time.Duration) (look, error) {
	for after := name; ; {
		upto, done, err := l.wait(ctx, after, patience)
		if err != nil {
			return look{}, err
		}
		k, err := n.look(d, name, n.cfg.Now())
		if done || err != nil || k.verdict != unknown {
			return k, err
		}
		after = upto
	}
}
