package replicas

import (
	"time"

	"github.com/shoal-mesh/shoal"
)

// A Core is the pure half of one node: what it knows as a home and what it tells as a
// holder. Messages a node sends to itself are delivered at once, inside; those returned
// are for others. It is not safe for concurrent use. Runner drives it in a real mesh,
// package sim in a simulated one.
type Core struct {
	Directory *Directory
	Announcer *Announcer
	Standings *Standings

	self      shoal.NodeID
	rules     Rules
	table     *Table
	presence  presence
	frontier  *shoal.Frontier                  // the node's own; never changed in place
	toldFront map[shoal.NodeID]*shoal.Frontier // the last that each node was told
}

// NewCore returns the Core of node self. It knows nobody until SetTable.
func NewCore(self shoal.NodeID, rules Rules) *Core {
	announcer := NewAnnouncer(self, rules)
	return &Core{
		Directory: NewDirectory(self, rules),
		Announcer: announcer,
		Standings: NewStandings(self, rules, announcer),
		self:      self,
		rules:     rules.withDefaults(),
		table:     NewTable(nil),
		toldFront: make(map[shoal.NodeID]*shoal.Frontier),
	}
}

// Table returns the membership the node acts under.
func (c *Core) Table() *Table { return c.table }

// SetTable makes t the membership the node acts under, at once and with nobody away but
// whom t says is: see SetMembers.
func (c *Core) SetTable(now Tick, t *Table) []Message {
	c.table = t
	clear(c.toldFront)
	out := c.Directory.SetTable(now, t)
	c.Announcer.SetTable(now, t)
	c.Standings.SetTable(now, t)
	return c.deliver(now, out)
}

// Step takes one message from another node in. If the message asks for an answer, that
// is the last of those returned.
func (c *Core) Step(now Tick, m Message) []Message {
	if m.Frontier != nil {
		c.Directory.heard(now, m.From, *m.Frontier)
	}
	return c.deliver(now, c.step(now, m))
}

// Tick does what time makes due. A few ticks in a hundred milliseconds will do.
func (c *Core) Tick(now Tick) []Message {
	out := append(c.endGrace(now), c.Directory.Tick(now)...)
	out = append(out, c.Announcer.Tick(now)...)
	return c.deliver(now, append(out, c.Standings.Tick(now)...))
}

// Lookup is Directory.Lookup for a reader on the node itself.
func (c *Core) Lookup(now Tick, keys []shoal.Key, avoid []Avoid, peek bool, out []Answer) []Answer {
	return c.Directory.Lookup(now, c.self, keys, avoid, peek, out)
}

// Ask is Directory.Lookup for a Search on the node itself.
func (c *Core) Ask(now Tick, a Ask, avoid []Avoid, peek bool, out []Answer) []Answer {
	m := a.message(avoid, peek)
	m.From = c.self
	return c.Directory.lookup(now, &m, out)
}

// Failed takes in that the call which carried m failed.
func (c *Core) Failed(now Tick, m Message) {
	switch m.Type {
	case MsgBatch:
		c.Announcer.failed(now, m)
	case MsgStand:
		c.Directory.orderFailed(now, m)
	}
}

// Add tells the homes of key that the node holds it, as a keeper, and of how many replicas
// its dataset wants; leased says that it had the lease to fill it: the homes name it until they
// hear of this, so that need not be at once.
func (c *Core) Add(now Tick, key shoal.Key, sum shoal.Sum, limits Limits, leased bool) []Message {
	c.Announcer.Add(now, key, sum, limits, leased)
	c.Standings.gained(key)
	return c.settle(now)
}

// Drop tells the homes of key that the node holds it no more, and that it had not been read
// for idle; zero is not known.
func (c *Core) Drop(now Tick, key shoal.Key, idle time.Duration) []Message {
	c.Standings.dropped(key)
	c.Announcer.Drop(now, key, IdleOf(idle))
	return c.settle(now)
}

// Resign is Standings.Resign.
func (c *Core) Resign(now Tick, keys ...shoal.Key) {
	c.Standings.Resign(now, keys...)
}

// TakeOrders is Standings.TakeOrders.
func (c *Core) TakeOrders() []Order { return c.Standings.TakeOrders() }

// EndOrders is Standings.EndOrders.
func (c *Core) EndOrders(now Tick, orders []Order) []Message {
	return c.deliver(now, c.Standings.EndOrders(now, orders))
}

// Feed is Announcer.Feed; if it reports false, wait for one of the messages to be
// answered, or for the next Tick.
func (c *Core) Feed(now Tick, key shoal.Key, sum shoal.Sum, limits Limits) (bool, []Message) {
	if c.Announcer.Feed(now, key, sum, limits) {
		return true, nil
	}
	out := c.deliver(now, c.Announcer.Tick(now))
	return c.Announcer.Feed(now, key, sum, limits), out
}

// EndScan is Announcer.EndScan.
func (c *Core) EndScan(now Tick) []Message {
	c.Announcer.EndScan(now)
	return c.settle(now)
}

// EndChecks is Announcer.EndChecks.
func (c *Core) EndChecks(now Tick, checked []Change) []Message {
	c.Announcer.EndChecks(now, checked)
	return c.settle(now)
}

// Renew returns the messages by which the node, as the filler of keys, keeps its leases.
func (c *Core) Renew(now Tick, keys ...shoal.Key) []Message { return c.fills(now, MsgRenew, keys) }

// Release returns the messages by which the node gives its leases on keys back.
func (c *Core) Release(now Tick, keys ...shoal.Key) []Message {
	return c.fills(now, MsgRelease, keys)
}

func (c *Core) fills(now Tick, t MessageType, keys []shoal.Key) []Message {
	var out []Message
	at := make(map[shoal.NodeID]int)
	for _, key := range keys {
		home, backup := c.table.Homes(ShardOf(key))
		for _, id := range [2]shoal.NodeID{home, backup} {
			if id == "" {
				continue
			}
			i, ok := at[id]
			if !ok || len(out[i].Keys) == maxKeys {
				i = len(out)
				at[id] = i
				out = append(out, Message{Type: t, From: c.self, To: id, View: c.table.view, Boot: c.Announcer.boot})
			}
			out[i].Keys = append(out[i].Keys, key)
		}
	}
	return c.deliver(now, out)
}

// settle delivers what the node has to tell itself: a lookup right after an Add on the
// same node must find it.
func (c *Core) settle(now Tick) []Message {
	if s := c.Announcer.byHome[c.self]; s != nil {
		return c.deliver(now, c.Announcer.flush(now, s, nil))
	}
	return nil
}

func (c *Core) step(now Tick, m Message) []Message {
	switch m.Type {
	case MsgAck, MsgWant, MsgCheck, MsgAudit:
		return c.Announcer.Step(now, m)
	case MsgStand:
		return c.Standings.Step(m)
	case MsgLookup, MsgPeek, MsgBatch, MsgResign, MsgStood, MsgIntent, MsgRenew, MsgRelease, MsgPull, MsgPage, MsgMeet, MsgMet:
		return c.Directory.Step(now, m)
	}
	return nil
}

// deliver hands the messages to the node itself over, and returns the others in order.
func (c *Core) deliver(now Tick, queue []Message) []Message {
	var out []Message
	for i := 0; i < len(queue); i++ {
		if m := queue[i]; m.To == c.self {
			queue = append(queue, c.step(now, m)...)
		} else {
			c.tell(&m)
			out = append(out, m)
		}
	}
	return out
}
