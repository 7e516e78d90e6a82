package replicas

import "github.com/shoal-mesh/shoal"

// A Core is the pure half of one node: what it knows as a home and what it tells as a
// holder. Messages a node sends to itself are delivered at once, inside; those returned
// are for others. It is not safe for concurrent use. Runner drives it in a real mesh,
// package sim in a simulated one.
type Core struct {
	Directory *Directory
	Announcer *Announcer

	self  shoal.NodeID
	table *Table
}

// NewCore returns the Core of node self. It knows nobody until SetTable.
func NewCore(self shoal.NodeID, rules Rules) *Core {
	return &Core{
		Directory: NewDirectory(self, rules),
		Announcer: NewAnnouncer(self, rules),
		self:      self,
		table:     NewTable(nil),
	}
}

// Table returns the membership the node acts under.
func (c *Core) Table() *Table { return c.table }

// SetTable makes t the membership the node acts under.
func (c *Core) SetTable(now Tick, t *Table) []Message {
	c.table = t
	out := c.Directory.SetTable(now, t)
	c.Announcer.SetTable(now, t)
	return c.deliver(now, out)
}

// Step takes one message from another node in. If the message asks for an answer, that
// is the last of those returned.
func (c *Core) Step(now Tick, m Message) []Message {
	return c.deliver(now, c.step(now, m))
}

// Tick does what time makes due. A few ticks in a hundred milliseconds will do.
func (c *Core) Tick(now Tick) []Message {
	out := c.Directory.Tick(now)
	return c.deliver(now, append(out, c.Announcer.Tick(now)...))
}

// Lookup is Directory.Lookup for a reader on the node itself.
func (c *Core) Lookup(now Tick, keys []shoal.Key, avoid []Avoid, peek bool, out []Answer) ([]Answer, []Message) {
	return c.Directory.Lookup(now, c.self, keys, avoid, peek, out)
}

// Ask is Directory.Lookup for a Search on the node itself.
func (c *Core) Ask(now Tick, a Ask, avoid []Avoid, peek bool, out []Answer) ([]Answer, []Message) {
	m := a.message(avoid, peek)
	m.From = c.self
	return c.Directory.lookup(now, &m, out)
}

// Failed takes in that the call which carried m failed.
func (c *Core) Failed(now Tick, m Message) {
	if m.Type == MsgBatch {
		c.Announcer.failed(now, m)
	}
}

// Add tells the homes of key that the node holds it.
func (c *Core) Add(now Tick, key shoal.Key, sum shoal.Sum) []Message {
	c.Announcer.Add(now, key, sum)
	return c.settle(now)
}

// Drop tells the homes of keys that the node holds them no more.
func (c *Core) Drop(now Tick, keys ...shoal.Key) []Message {
	for _, key := range keys {
		c.Announcer.Drop(now, key)
	}
	return c.settle(now)
}

// Feed is Announcer.Feed; if it reports false, wait for one of the messages to be
// answered, or for the next Tick.
func (c *Core) Feed(now Tick, key shoal.Key, sum shoal.Sum) (bool, []Message) {
	if c.Announcer.Feed(now, key, sum) {
		return true, nil
	}
	out := c.deliver(now, c.Announcer.Tick(now))
	return c.Announcer.Feed(now, key, sum), out
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
func (c *Core) Release(now Tick, keys ...shoal.Key) []Message { return c.fills(now, MsgRelease, keys) }

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
	case MsgAck, MsgWant, MsgCheck:
		return c.Announcer.Step(now, m)
	case MsgLookup, MsgPeek, MsgBatch, MsgIntent, MsgRenew, MsgRelease:
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
			out = append(out, m)
		}
	}
	return out
}
