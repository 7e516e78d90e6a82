package replicas

import (
	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// A Report is what one node knows of another's frontier.
type Report struct {
	Seed     uint64 // hash of the node's ID
	Age      Tick   // since the node told it
	Frontier shoal.Frontier
}

// maxReports is how many Reports a message has at most.
const maxReports = 65536

// oldFrontier is how many times Rules.Meet a frontier is believed.
const oldFrontier = 6

// frontiers are what this node knows of what the members would give up next and have room
// for (policy.md §2.3): each tells its own with much of what it sends, and once in
// Rules.Meet any two exchange what they know. It is a hint.
type frontiers struct {
	meetAt Tick
}

// front is what is known of one member's frontier.
type front struct {
	told     bool
	at       Tick // when the member told it, as far as can be known
	frontier shoal.Frontier
	sent     int64 // bytes of blocks placed on it since turned
	before   int64 // bytes placed on it before that, which may not have been there when it told
	turned   Tick
}

// settling is how long a block may take to get where it is placed, in milliseconds.
const settling = 1000

// take replaces f by what the member told at that time.
func (f *front) take(at Tick, told shoal.Frontier) {
	if at >= f.turned+settling {
		f.before, f.sent, f.turned = f.sent, 0, at
	}
	f.told, f.at, f.frontier = true, at, told
}

// placed returns how many bytes were placed on the member that its frontier does not tell of.
func (f *front) placed(now Tick) int64 {
	if now >= f.turned+settling {
		return f.sent
	}
	return f.sent + f.before
}

// SetFrontier makes f the frontier the node tells of itself.
func (c *Core) SetFrontier(now Tick, f shoal.Frontier) {
	c.frontier = &f
	c.Directory.heard(now, c.self, f)
}

// tell adds the node's frontier to a message that carries it, unless the receiver has been
// told.
func (c *Core) tell(m *Message) {
	if !m.Type.tellsFrontier() || c.toldFront[m.To] == c.frontier {
		return
	}
	m.Frontier = c.frontier
	if _, member := c.table.find(m.To); member {
		c.toldFront[m.To] = c.frontier
	}
}

// heard takes in the frontier that node id tells of itself.
func (d *Directory) heard(now Tick, id shoal.NodeID, f shoal.Frontier) {
	if p := d.byID[id]; p != nil {
		p.front.take(now, f)
	}
}

// meet takes in what another node knows of frontiers, as far as it is newer.
func (d *Directory) meet(now Tick, reports []Report) {
	if len(reports) == 0 {
		return
	}
	bySeed := make(map[uint64]*member, len(d.members))
	for _, p := range d.members {
		bySeed[p.seed] = p
	}
	for _, r := range reports {
		p := bySeed[r.Seed]
		if at := now - r.Age; p != nil && p.id != d.self && (!p.front.told || at > p.front.at) {
			p.front.take(at, r.Frontier)
		}
	}
}

// reports returns what this node knows of the frontiers of others.
func (d *Directory) reports(now Tick) []Report {
	var reports []Report
	for _, p := range d.members {
		if p.id != d.self && d.fresh(now, p) && len(reports) < maxReports {
			reports = append(reports, Report{Seed: p.seed, Age: now - p.front.at, Frontier: p.front.frontier})
		}
	}
	return reports
}

func (d *Directory) fresh(now Tick, p *member) bool {
	return p.front.told && !p.away && now < p.front.at+oldFrontier*d.rules.Meet
}

// meetOne returns the message to a random member with what is known of frontiers, when
// it is due.
func (d *Directory) meetOne(now Tick) (Message, bool) {
	if now < d.frontiers.meetAt {
		return Message{}, false
	}
	first := d.frontiers.meetAt == 0
	d.frontiers.meetAt = now + jitter(d.self, now, d.rules.Meet)
	if first || len(d.members) < 2 {
		return Message{}, false
	}
	at := int(mix(xxh3.HashString(string(d.self))^mix(uint64(now))) % uint64(len(d.members)))
	for range d.members {
		if p := d.members[at]; !p.away && p.id != d.self {
			return Message{
				Type: MsgMeet, From: d.self, To: p.id, View: d.table.view, Boot: d.boot, ToBoot: p.boot,
				Frontiers: d.reports(now),
			}, true
		}
		at = (at + 1) % len(d.members)
	}
	return Message{}, false
}

// met answers a Meet.
func (d *Directory) met(now Tick, m Message) Message {
	reply := d.reply(m, MsgMet)
	reply.Frontiers = d.reports(now)
	d.meet(now, m.Frontiers)
	return reply
}
