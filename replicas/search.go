package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// A Search decides, for one batch of keys, whom to ask next: each key's home, then its
// backup home, both again after a pause if one of them knew nothing yet, and in the end
// nobody (fail open). It is pure, and always ends: after at most 2 x Passes asks per key.
// From the last of patience passes on it tells the homes not to make it wait any longer:
// one that is there then names a filler, be it this node, so that there is one reader of
// the UFS even when nobody can tell who holds the block.
type Search struct {
	keys    []shoal.Key
	answers []Answer
	open    []int          // indexes of keys without an answer, ascending
	hope    []hope         // per key: what the homes that are there may come to know soon
	failed  []shoal.NodeID // nodes that did not answer
	swapped []bool         // per key: in this pass the backup home is asked first
	round   int            // even: the home; odd: the backup home
	peek    bool
}

// Passes is how often a Search asks both homes before it gives up on them.
const Passes = 8

// patience is how many of these passes may be due to homes that do not know enough yet;
// the others are left to homes that do not know yet that they are.
const patience = 3

// hope says why a Search may ask the homes of a key once more.
type hope uint8

const (
	noHope       hope = iota
	toldUnknown       // a home is there, and may be told more soon
	toldNotOwner      // a node is there that does not think it is a home
)

// maxAsk is how many keys one Ask has at most.
const maxAsk = 1024

// An Ask is one question of a Search: keys to put to a node.
type Ask struct {
	To   shoal.NodeID
	Keys []shoal.Key
	Last bool // see Message.Last
	// Offer is set by whoever puts the question; see Message.Offer.
	Offer *Offer

	index []int // of Keys in the Search
}

// NewSearch returns a Search for keys. With peek, it gives up with Unknown, not Fill.
func NewSearch(keys []shoal.Key, peek bool) *Search {
	s := &Search{
		keys: keys, answers: make([]Answer, len(keys)), open: make([]int, len(keys)),
		peek: peek,
	}
	s.hope, s.swapped = make([]hope, len(keys)), make([]bool, len(keys))
	for i := range s.open {
		s.open[i] = i
	}
	return s
}

// Next returns what to ask now, under table t; pause says to wait a little before, since
// all that can be asked has been. The Asks may be put in any order or at once, and each
// ends with a call to Answered or Failed. No Asks: the Search is over. Nodes that
// suspect names are asked after others; nil suspects nobody.
func (s *Search) Next(t *Table, suspect func(shoal.NodeID) bool) (asks []Ask, pause bool) {
	for len(s.open) > 0 && s.round < 2*Passes {
		if s.round > 0 && s.round%2 == 0 {
			least := toldUnknown
			if s.round >= 2*patience {
				least = toldNotOwner
			}
			s.giveUp(func(i int) bool { return s.hope[i] < least })
			clear(s.hope)
			pause = true
		}
		for _, i := range s.open {
			if to := s.ask(t, suspect, i); to != "" {
				asks = s.group(asks, to, i)
			}
		}
		s.round++
		if len(asks) > 0 {
			return asks, pause
		}
	}
	s.giveUp(func(int) bool { return true })
	return nil, false
}

func (s *Search) ask(t *Table, suspect func(shoal.NodeID) bool, i int) shoal.NodeID {
	first, second := t.Homes(ShardOf(s.keys[i]))
	if s.round%2 == 0 {
		s.swapped[i] = suspect != nil && second != "" && suspect(first) && !suspect(second)
	}
	to, other := first, second
	if s.swapped[i] == (s.round%2 == 0) {
		to, other = second, first
	}
	if s.round > 1 && slices.Contains(s.failed, to) && !slices.Contains(s.failed, other) {
		return "" // the other one is there
	}
	return to
}

func (s *Search) group(asks []Ask, to shoal.NodeID, i int) []Ask {
	for j := range asks {
		if a := &asks[j]; a.To == to && len(a.Keys) < maxAsk {
			a.Keys, a.index = append(a.Keys, s.keys[i]), append(a.index, i)
			return asks
		}
	}
	room := min(len(s.open), maxAsk)
	a := Ask{
		To: to, Keys: make([]shoal.Key, 1, room), index: make([]int, 1, room),
		Last: !s.peek && s.round >= 2*(patience-1),
	}
	a.Keys[0], a.index[0] = s.keys[i], i
	return append(asks, a)
}

// Answered takes in the answers to an Ask, one per key of it.
func (s *Search) Answered(a Ask, answers []Answer) {
	answers = answers[:min(len(answers), len(a.index))]
	for j, answer := range answers {
		i := a.index[j]
		switch answer.Kind {
		case Held, Filling, Fill, Nowhere:
			s.answers[i] = answer
		case Unknown:
			s.hope[i] = max(s.hope[i], toldUnknown)
		case NotOwner:
			s.hope[i] = toldNotOwner
		}
	}
	s.open = slices.DeleteFunc(s.open, func(i int) bool { return s.answers[i].Kind != Unknown })
}

// Failed takes in that an Ask got no answer.
func (s *Search) Failed(a Ask) {
	if !slices.Contains(s.failed, a.To) {
		s.failed = append(s.failed, a.To)
	}
}

// Answers returns one Answer per key. Those without one are Unknown while the Search
// goes on; when it is over, they are Fill without a lease.
func (s *Search) Answers() []Answer { return s.answers }

// giveUp ends the search for those open keys for which hopeless says so.
func (s *Search) giveUp(hopeless func(i int) bool) {
	s.open = slices.DeleteFunc(s.open, func(i int) bool {
		if !hopeless(i) {
			return false
		}
		if !s.peek {
			s.answers[i] = Answer{Kind: Fill}
		}
		return true
	})
}

// message returns the question that a is.
func (a Ask) message(avoid []Avoid, peek bool) Message {
	m := Message{Type: MsgLookup, To: a.To, Keys: a.Keys, Avoid: avoid, Last: a.Last, Offer: a.Offer}
	if peek {
		m.Type = MsgPeek
	}
	return m
}
