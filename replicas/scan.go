package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// restScans is how many times as long as the last push took the next scan waits.
const restScans = 4

// WantsScan reports whether a scan should begin: a home waits for a push, or the digests
// are not known or have long not been looked at. Pushes that take long are far between.
func (a *Announcer) WantsScan(now Tick) bool {
	if a.inScan || now < a.restTo || len(a.streams) == 0 {
		return false
	}
	return now >= a.rescanAt || slices.ContainsFunc(a.streams, func(s *stream) bool { return s.pushes(now) })
}

// pushes reports whether s waits for a push that may begin.
func (s *stream) pushes(now Tick) bool {
	return s.pending != nil && s.active == nil && now >= s.fedUp
}

// BeginScan starts one scan for all pushes that are due. Blocks that are visible from
// now until EndScan must be fed.
func (a *Announcer) BeginScan(now Tick) {
	a.inScan, a.scanAt = true, now
	a.watch()
	a.digests.beginScan()
	for key := range a.news { // told since a check began, but before the scan
		a.digests.vague.Add(ShardOf(key))
	}
	for _, s := range a.streams {
		if !s.pushes(now) {
			continue
		}
		s.active, s.pending = s.pending, nil
		a.scanning = append(a.scanning, s)
		a.enqueue(now, s, item{mark: pushBegins})
	}
}

// Feed tells the homes that wait for a push, and have key's shard in it, that the node
// holds key. It reports false when a home does not keep up: feed the same key again
// after the next Ack or Tick.
func (a *Announcer) Feed(now Tick, key shoal.Key, sum shoal.Sum, limits Limits) bool {
	held, told := a.news[key]
	if told && !held {
		return true // dropped since the caller saw it
	}
	hash := HashKey(key)
	shard := uint16(hash)
	for _, s := range a.scanning {
		if s == nil || !s.active.Has(shard) {
			continue
		}
		if len(s.queue)-s.first < a.rules.QueueChanges/2 {
			a.enqueue(now, s, item{Change: Change{Key: key, Sum: sum, Limits: limits.clip(), Held: true}})
			continue
		}
		if s.inflight == nil || now < s.began+stalled*a.rules.RetryAfter {
			return false
		}
		a.giveUp(now, s)
	}
	if !told {
		a.digests.count(hash)
	}
	return true
}

// giveUp ends the push to s, which does not answer, without its end: it starts over
// with the next scan.
func (a *Announcer) giveUp(now Tick, s *stream) {
	for shard := range s.active.All {
		s.push(shard)
	}
	s.active, s.ending = nil, false
	s.fedUp = now + stalled*a.rules.RetryAfter
	s.queue = slices.DeleteFunc(s.queue[s.first:], func(it item) bool { return it.mark != noMark })
	s.first = 0
	a.unscan(s)
}

func (a *Announcer) unscan(s *stream) {
	if i := slices.Index(a.scanning, s); i >= 0 {
		a.scanning[i] = nil
	}
}

// EndScan ends the scan: every block has been fed.
func (a *Announcer) EndScan(now Tick) {
	for _, s := range a.scanning {
		if s != nil && s.active != nil {
			a.enqueue(now, s, item{mark: pushEnds})
		}
	}
	a.digests.endScan(func(shard uint16) { a.audit(now, shard) })
	a.rescanAt = now + jitter(a.self, now, a.rules.Refresh)
	if a.digests.known.Len() < Shards {
		a.rescanAt = now + a.rules.RetryAfter
	}
	if len(a.scanning) > 0 {
		a.restTo = now + min(restScans*(now-a.scanAt), a.rules.Refresh/4)
	}
	a.scanning, a.inScan = nil, false
	a.forget()
}

// AbortScan ends a scan that could not be completed; its pushes start over.
func (a *Announcer) AbortScan(now Tick) {
	for _, s := range slices.Clone(a.scanning) {
		if s != nil && s.active != nil {
			a.giveUp(now, s)
		}
	}
	a.digests.abortScan()
	a.scanning, a.inScan = nil, false
	a.forget()
}

// TakeChecks returns the keys homes have doubts about. The caller looks whether the
// node holds them, and calls EndChecks with Held set accordingly. It returns nil while
// earlier ones have not been answered.
func (a *Announcer) TakeChecks() []Change {
	if a.checking || len(a.asked) == 0 {
		return nil
	}
	a.checking = true
	a.watch()
	asked := a.asked
	a.asked = nil
	for i := range asked {
		asked[i].Held = false
	}
	return asked
}

// EndChecks tells the homes of each key whether the node holds it.
func (a *Announcer) EndChecks(now Tick, checked []Change) {
	for _, c := range checked {
		// What happened since the caller looked has been told, and is newer.
		if _, ok := a.news[c.Key]; !ok {
			if a.inScan {
				a.digests.vague.Add(ShardOf(c.Key))
			}
			key := c.Key
			if !c.Held {
				c = drop(key, 0)
			}
			a.tell(now, key, c)
		}
	}
	a.checking = false
	a.forget()
}

// watch makes tell remember what it tells, until forget.
func (a *Announcer) watch() {
	if a.news == nil {
		a.news = make(map[shoal.Key]bool)
	}
}

func (a *Announcer) forget() {
	if !a.inScan && !a.checking {
		a.news = nil
	}
}
