package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// A move is what a home does about the keepers of one block: in rounds, of which one is
// going on at a time. A round first orders those who are to be keepers to be so. Only when
// all of them have, it orders others to be keepers no more; and what is known of these
// (their versions) was known before the round began. So at any time the holder that was
// the last to be told to keep the block is still its keeper: whoever took its word away
// would have told another one to keep it, later.
type move struct {
	asked  []asked       // who has not answered yet; empty when no round is going on
	chosen []*member     // the keepers the round wants; empty when it has them, and tells the others
	worth  []shoal.Class // what each of them was told with that
	clears []leaving     // whom it will tell that they are no keepers
	waits  []leaving     // the same, of the next round
	all    bool          // the next round tells all holders, as nobody knows what they were told
}

// asked says that p was given an order of the round, in a Stand after this one.
type asked struct {
	p     *member
	after uint64
}

// leaving says that p is to be keeper no more, as of its version.
type leaving struct {
	p        *member
	boot     uint64
	basis    uint64
	number   uint64 // by which it knows the block; 0 when that is not known
	resigned bool   // it asked for that
}

// resign takes in that the sender would drop its replicas of keys, and answers as far as it
// can at once. A home that cannot know whether it is the only one, or does not know of the
// replica, stays silent: the holder says it again.
func (d *Directory) resign(m Message) []Message {
	p := d.byID[m.From]
	if p == nil || p.away || p.boot != m.Boot || m.ToBoot != d.boot || m.View != d.table.view {
		return nil
	}
	p.version = max(p.version, m.Version)
	for _, r := range m.Resigned {
		slot, more := d.entries.findHeld(r.Hash, p.number)
		if slot == 0 || more || !d.arranges(uint16(r.Hash)) {
			continue // of two blocks with one hash nobody can say which it is: both stay
		}
		d.counts.Resigned++
		key := d.entries.at(slot).key
		mv := d.moveOf(key)
		if i := slices.IndexFunc(mv.clears, func(l leaving) bool { return l.p == p }); i >= 0 {
			mv.clears[i].resigned, mv.clears[i].number = true, r.Number
			continue
		}
		l := leavingAsOf(p, m.Version)
		l.number, l.resigned = r.Number, true
		mv.wait(l)
		d.review(key)
	}
	if s := &p.orders; len(s.queue) > 0 && s.due <= d.now+d.rules.AddDelay {
		s.due = d.now // what must not wait makes the answer
	}
	return d.flushOrders(p, nil)
}

// review begins the next round of the move of key, if one is needed and none is going on.
func (d *Directory) review(key shoal.Key) {
	mv := d.moves[key]
	if mv == nil || len(mv.asked) > 0 {
		return
	}
	slot := d.entries.find(key, HashKey(key))
	if slot == 0 {
		delete(d.moves, key)
		return
	}
	chosen := d.choose(slot, mv)
	if len(chosen) == 0 {
		d.letGo(slot, mv)
		delete(d.moves, key)
		return
	}
	isChosen := func(l leaving) bool { return slices.Contains(chosen, l.p) }
	clears := slices.DeleteFunc(mv.waits, isChosen)
	var few [8]told
	same, asking := mv.all, []asked(nil)
	for _, t := range d.standings(slot, few[:0]) {
		switch {
		case slices.Contains(chosen, t.p):
			same = same || !t.keeper
		case t.keeper || mv.all:
			same = true
			if !slices.ContainsFunc(clears, func(l leaving) bool { return l.p == t.p }) {
				clears = append(clears, leavingAsOf(t.p, t.p.version))
			}
		}
	}
	if !same && len(clears) == 0 {
		delete(d.moves, key)
		return
	}
	quick := slices.ContainsFunc(clears, func(l leaving) bool { return l.resigned })
	for _, p := range chosen {
		asking = append(asking, asked{p, p.orders.seq})
	}
	*mv = move{asked: asking, chosen: chosen, worth: make([]shoal.Class, len(chosen)), clears: clears}
	for _, t := range d.standings(slot, few[:0]) {
		if slices.Contains(chosen, t.p) {
			d.keep(key, t.p, t.near, quick)
			mv.worth[slices.Index(chosen, t.p)] = t.near
		}
	}
}

// choose returns who are to be keepers of slot, best first; none when all who could be
// resign, or nobody is there.
func (d *Directory) choose(slot uint32, mv *move) []*member {
	e := d.entries.at(slot)
	hash := HashKey(e.key)
	var few [8]told
	var room [8]Candidate
	all, candidates := d.standings(slot, few[:0]), room[:0]
	for _, t := range all {
		candidates = append(candidates, Candidate{
			Zone: t.p.zone, Score: Score(hash, t.p.seed), Keeper: t.keeper, Away: t.p.away, Draining: t.p.drains(),
			Resigning: slices.ContainsFunc(mv.waits, func(l leaving) bool { return l.p == t.p && l.resigned }),
		})
	}
	var chosen []*member
	var places [MostKeepers]int
	for _, i := range ChooseKeepers(places[:0], candidates, e.Limits()) {
		chosen = append(chosen, all[i].p)
	}
	return chosen
}

// answered takes in that p has carried out what it was ordered of key in the Stand with
// number seq, or refused to.
func (d *Directory) answered(p *member, key shoal.Key, seq uint64) {
	mv := d.moves[key]
	if mv == nil {
		return
	}
	i := slices.IndexFunc(mv.asked, func(a asked) bool { return a.p == p && a.after < seq })
	if i < 0 {
		return
	}
	if mv.asked = slices.Delete(mv.asked, i, i+1); len(mv.asked) > 0 {
		return
	}
	if len(mv.chosen) > 0 {
		d.conclude(key, mv)
	}
	if len(mv.asked) == 0 && len(mv.waits) == 0 && !mv.all {
		delete(d.moves, key)
		return
	}
	d.review(key)
}

// conclude ends the first half of a round: all who were chosen are keepers, so the others
// need not be. The round is over when they know.
func (d *Directory) conclude(key shoal.Key, mv *move) {
	slot := d.entries.find(key, HashKey(key))
	if slot == 0 {
		return
	}
	var few, more [8]told
	was := d.standings(slot, few[:0])
	for i, p := range mv.chosen {
		d.entries.place(slot, p.number, i)
	}
	d.entries.at(slot).SetKeepers(len(mv.chosen))
	for _, is := range d.standings(slot, more[:0]) {
		i := slices.IndexFunc(mv.clears, func(l leaving) bool { return l.p == is.p })
		switch {
		case is.keeper:
			if i := slices.Index(mv.chosen, is.p); i < 0 || mv.worth[i] != is.class {
				d.keep(key, is.p, is.class, false) // others have come or gone since it was asked
			}
		case i >= 0:
			if !is.p.away {
				mv.asked = append(mv.asked, asked{is.p, is.p.orders.seq})
			}
			l := mv.clears[i]
			d.order(l.p, l.order(key, is.class), l.resigned)
			if l.resigned {
				d.counts.Moved++
			}
		case !slices.ContainsFunc(was, is.same):
			mv.wait(leavingAsOf(is.p, is.p.version)) // another place in the order
		}
	}
	mv.chosen, mv.worth, mv.clears = nil, nil, nil
	if d.short(slot) {
		d.lookLater(key, false)
	}
}

// short reports whether fewer holders of slot are keepers than ought to be and could, not
// counting those that drain.
func (d *Directory) short(slot uint32) bool {
	var few [8]told
	keepers, able := 0, 0
	for _, t := range d.standings(slot, few[:0]) {
		if t.p.away || t.p.drains() {
			continue
		}
		if able++; t.keeper {
			keepers++
		}
	}
	return keepers < min(d.entries.at(slot).Limits().Keepers(), able)
}

// letGo answers those who resign from the last replica of a block: they may drop it, if
// all who might hold another have said that they do not.
func (d *Directory) letGo(slot uint32, mv *move) {
	e := d.entries.at(slot)
	for _, l := range mv.waits {
		if l.resigned && d.complete(slot, l.p) {
			e.SetKeepers(0)
			d.order(l.p, l.order(e.key, shoal.Last), true)
			d.counts.LastResigned++
		}
	}
}

// complete reports whether this home knows of all replicas of slot but that of resigner: no
// other member has still to tell what it holds, or has had the time for that, nor is one
// doubted or just away.
func (d *Directory) complete(slot uint32, resigner *member) bool {
	e := d.entries.at(slot)
	shard := ShardOf(e.key)
	for _, p := range d.members {
		if p == resigner {
			continue
		}
		if p.missing.Has(shard) && d.now < p.missedAt+d.rules.ResignPatience {
			return false
		}
		if p.away && p.untold.Has(shard) && d.now < p.leftAt+d.rules.Settle {
			return false
		}
		if slices.ContainsFunc(p.checks, func(q asking) bool { return q.key == e.key }) {
			return false
		}
	}
	var few [16]uint16
	for _, n := range d.entries.holders(slot, few[:0]) {
		left, gone := d.left[n]
		if p := d.numbers[n]; p != nil {
			left, gone = p.leftAt, p.away
		}
		if gone && d.now < left+d.rules.Settle {
			return false
		}
	}
	return true
}

// notThere takes in that p, ordered to keep key, does not hold it. In doubt, because p has
// said something newer, the block is looked at again later.
func (d *Directory) notThere(p *member, key shoal.Key, doubt bool) {
	hash := HashKey(key)
	slot := d.entries.find(key, hash)
	if slot == 0 {
		return
	}
	if !doubt {
		d.loseHolder(slot, p, hash)
		d.tidy(slot)
		return
	}
	d.unsettled(p, key)
}

// unsettled takes in that nobody knows what p was told of key: a round that waits for p
// begins anew, with all holders, a little later.
func (d *Directory) unsettled(p *member, key shoal.Key) {
	if mv := d.moves[key]; mv != nil && slices.ContainsFunc(mv.asked, func(a asked) bool { return a.p == p }) {
		mv.abort()
	}
	d.lookLater(key, true)
}

// refused takes in that p has gained the block of o, or been told to keep it, after what o was
// based on: that it need not. If it has resigned it still would go, so others are to be chosen;
// if there are none, it is a keeper again, and resigns anew if it still would go.
func (d *Directory) refused(p *member, o Order, version uint64) {
	key := o.Key
	slot := d.entries.find(key, HashKey(key))
	if slot == 0 {
		return
	}
	var few [8]told
	all := d.standings(slot, few[:0])
	for _, t := range all {
		if t.p == p && !t.keeper {
			l := leavingAsOf(p, version)
			l.resigned = ofResignation(o.Number) && len(all) > 1
			d.moveOf(key).wait(l)
			d.review(key)
		}
	}
}

// moveOf returns the move of key, which is made when there is none.
func (d *Directory) moveOf(key shoal.Key) *move {
	mv := d.moves[key]
	if mv == nil {
		mv = new(move)
		d.moves[key] = mv
	}
	return mv
}

// leavingAsOf returns what is to be told p, which knows of no number for the block, as of a version.
func leavingAsOf(p *member, version uint64) leaving {
	return leaving{p: p, boot: p.boot, basis: version}
}

// wait adds l to those whom the next round tells that they are no keepers. What was meant for
// another boot of the holder is forgotten: it would mean another replica, and other blocks by
// its numbers.
func (mv *move) wait(l leaving) {
	if l.boot != l.p.boot {
		return
	}
	i := slices.IndexFunc(mv.waits, func(was leaving) bool { return was.p == l.p })
	switch {
	case i < 0:
		mv.waits = append(mv.waits, l)
	case mv.waits[i].boot != l.boot:
		mv.waits[i] = l
	default:
		was := &mv.waits[i]
		was.basis, was.resigned = max(was.basis, l.basis), was.resigned || l.resigned
		if l.number != 0 {
			was.number = l.number
		}
	}
}

// name takes in that p knows the block by number.
func (mv *move) name(p *member, number uint64) {
	for _, all := range [][]leaving{mv.waits, mv.clears} {
		if i := slices.IndexFunc(all, func(l leaving) bool { return l.p == p }); i >= 0 {
			all[i].number = number
		}
	}
}

// order returns the order that its replica of key is of this class, and it no keeper.
func (l leaving) order(key shoal.Key, class shoal.Class) Order {
	return Order{Key: key, Number: l.number, Basis: l.basis, Standing: shoal.Standing{Class: class}}
}

// abort gives up the round that is going on; another one will do what it was for, and undo
// what it has done: those it chose may have become keepers.
func (mv *move) abort() {
	for _, p := range mv.chosen {
		mv.wait(leavingAsOf(p, p.version))
	}
	for _, l := range mv.clears {
		mv.wait(l)
	}
	mv.asked, mv.chosen, mv.worth, mv.clears = nil, nil, nil, nil
}
