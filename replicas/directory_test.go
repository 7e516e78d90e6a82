package replicas

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/shoal-mesh/shoal"
)

// TestHistories runs the histories in testdata: commands to a mesh of Cores, and what
// they say to one another. Messages wait in the network until "deliver" or "settle".
//
//	add-nodes n1 n2/zone ...  join; everybody sees the new view
//	graceful                  from now on a member that is gone is away for a while
//	kill n1                   everybody else sees it gone
//	restart n1                the same with another boot, blocks kept
//	part n1                   everybody loses sight of it, and it of everybody
//	heal n1                   they see one another again
//	state n1 draining
//	hold n1 k1 ...            the node puts blocks into its store (and announces them)
//	drop n1 k1 ...
//	lose n1 k1                the block goes without a word
//	lookup n1 k1 ... [at=home|backup|n3] [avoid=n2] [missing=n3]
//	peek n1 k1
//	renew, release n1 k1
//	tick 1000                 time passes, in steps of 25 ms; messages are delivered
//	deliver                   messages are delivered, no time passes
//	lossy n1                  messages to n1 are lost from now on; lossy: from nobody
//	show k1                   what the homes of the key know
//
// A key is named for the place of its homes: "k1" has home n1 and backup n2 for
// "keys k1=(n1,n2)".
func TestHistories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		m := newMesh()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return m.command(t, d)
		})
	})
}

// mesh is a network of Cores in which nothing happens by itself.
type mesh struct {
	now     Tick
	nodes   map[shoal.NodeID]*meshNode
	queue   []Message
	lossy   map[shoal.NodeID]bool
	keys    map[string]shoal.Key
	out     strings.Builder
	verbose bool

	graceful  bool // SetMembers, not SetTable
	announced int  // changes in batches
	mute      shoal.NodeID
}

type meshNode struct {
	member shoal.Member
	core   *Core
	store  map[shoal.Key]shoal.Sum
	stand  map[shoal.Key]shoal.Standing // what it was told; see keepers_test.go
	deaf   bool                         // takes orders later
	dead   bool
	parted bool // sees only itself, and is seen by nobody
}

func newMesh() *mesh {
	return &mesh{
		nodes: make(map[shoal.NodeID]*meshNode), lossy: make(map[shoal.NodeID]bool),
		keys: make(map[string]shoal.Key),
	}
}

func (m *mesh) command(t *testing.T, d *datadriven.TestData) string {
	m.out.Reset()
	m.verbose = d.HasArg("verbose")
	var words []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 && a.Key != "verbose" && a.Key != "filled" {
			words = append(words, a.Key)
		}
	}
	switch d.Cmd {
	case "add-nodes":
		m.addNodes(words)
	case "kill":
		m.nodes[shoal.NodeID(words[0])].dead = true
		m.members()
	case "restart":
		m.restart(shoal.NodeID(words[0]))
	case "graceful":
		m.graceful = true
	case "part", "heal":
		m.nodes[shoal.NodeID(words[0])].parted = d.Cmd == "part"
		m.members()
	case "state":
		n := m.nodes[shoal.NodeID(words[0])]
		n.member.State = map[string]shoal.State{"serving": shoal.Serving, "draining": shoal.Draining}[words[1]]
		m.members()
	case "keys":
		m.nameKeys(d)
	case "tick":
		ms, _ := strconv.Atoi(words[0])
		m.pass(Tick(ms))
	case "deliver":
		m.deliver()
	case "lossy":
		clear(m.lossy)
		for _, w := range words {
			m.lossy[shoal.NodeID(w)] = true
		}
	case "standing":
		for _, w := range words {
			m.standing(w)
		}
	case "show":
		for _, w := range words {
			m.show(w)
		}
	default:
		m.nodeCommand(t, d, m.nodes[shoal.NodeID(words[0])], words[1:])
	}
	return m.out.String()
}

func (m *mesh) nodeCommand(t *testing.T, d *datadriven.TestData, n *meshNode, words []string) {
	keys := make([]shoal.Key, len(words))
	for i, w := range words {
		keys[i] = m.key(w)
	}
	switch d.Cmd {
	case "hold": // filled: under a lease
		for i, key := range keys {
			n.store[key] = shoal.Sum(i + 1)
			n.stand[key] = shoal.Untold()
			m.send(n.core.Add(m.now, key, n.store[key], limitsArg(d), d.HasArg("filled")))
		}
	case "drop", "lose":
		for _, key := range keys {
			delete(n.store, key)
		}
		if d.Cmd == "drop" {
			for _, key := range keys {
				m.send(n.core.Drop(m.now, key, 0))
			}
		}
	case "renew":
		m.send(n.core.Renew(m.now, keys...))
	case "release":
		m.send(n.core.Release(m.now, keys...))
	case "lookup", "peek":
		m.lookup(d, n, keys)
	default:
		m.keeperCommand(t, d, n, keys)
	}
}

func (m *mesh) addNodes(words []string) {
	for _, w := range words {
		name, zone, _ := strings.Cut(w, "/")
		id := shoal.NodeID(name)
		m.nodes[id] = &meshNode{
			member: shoal.Member{ID: id, Zone: zone, State: shoal.Serving, Boot: 1},
			core:   NewCore(id, prompt()), store: make(map[shoal.Key]shoal.Sum),
			stand: make(map[shoal.Key]shoal.Standing),
		}
	}
	m.members()
}

func (m *mesh) restart(id shoal.NodeID) {
	n := m.nodes[id]
	n.dead, n.core = false, NewCore(id, prompt())
	n.member.Boot++
	m.members()
}

// members lets everybody see who is alive.
func (m *mesh) members() {
	var all []shoal.Member
	for _, n := range m.live() {
		if !n.parted {
			all = append(all, n.member)
		}
	}
	t := NewTable(all)
	for _, n := range m.live() {
		switch {
		case n.parted:
			m.send(n.core.SetMembers(m.now, []shoal.Member{n.member}))
		case m.graceful:
			m.send(n.core.SetMembers(m.now, all))
		default:
			m.send(n.core.SetTable(m.now, t))
		}
	}
}

// nameKeys looks for keys with the homes asked for.
func (m *mesh) nameKeys(d *datadriven.TestData) {
	t := m.live()[0].core.Table()
	for _, a := range d.CmdArgs {
		for i := range uint32(1 << 20) {
			key := shoal.Key{Index: i}
			home, backup := t.Homes(ShardOf(key))
			taken := slices.Contains(slices.Collect(maps.Values(m.keys)), key)
			if !taken && string(home) == a.Vals[0] && (len(a.Vals) < 2 || string(backup) == a.Vals[1]) {
				m.keys[a.Key] = key
				break
			}
		}
	}
}

func (m *mesh) lookup(d *datadriven.TestData, n *meshNode, keys []shoal.Key) {
	var avoid []Avoid
	for _, a := range d.CmdArgs {
		for _, v := range a.Vals {
			switch a.Key {
			case "avoid":
				avoid = append(avoid, Avoid{Node: shoal.NodeID(v), Reason: Unreachable})
			case "missing":
				avoid = append(avoid, Avoid{Node: shoal.NodeID(v), Reason: NotFound})
			}
		}
	}
	at := "home"
	if a, ok := d.Arg("at"); ok {
		at = a.Vals[0]
	}
	for _, key := range keys {
		home, backup := n.core.Table().Homes(ShardOf(key))
		to := shoal.NodeID(at)
		switch at {
		case "home":
			to = home
		case "backup":
			to = backup
		}
		answers := m.nodes[to].core.Directory.Lookup(m.now, n.member.ID, []shoal.Key{key}, avoid, d.Cmd == "peek", nil)
		fmt.Fprintf(&m.out, "%s from %s: %s\n", m.name(key), to, answerText(answers[0]))
	}
}

// prompt returns Rules under which nothing waits for much longer than it must.
func prompt() Rules { return Rules{SlowDelay: 50, IntentAfter: 1} }

func (m *mesh) pass(ms Tick) {
	for end := m.now + ms; m.now < end; {
		m.now += 25
		for _, n := range m.live() {
			m.send(n.core.Tick(m.now))
			m.serve(n)
		}
		m.deliver()
	}
}

// serve does for a Core what a Runner does: scans and checks.
func (m *mesh) serve(n *meshNode) {
	m.carryOut(n)
	a := n.core.Announcer
	if a.WantsScan(m.now) {
		a.BeginScan(m.now)
		for _, key := range slices.SortedFunc(maps.Keys(n.store), compareKeys) {
			if ok, _ := n.core.Feed(m.now, key, n.store[key], Limits{}); !ok {
				panic("a home does not keep up with a handful of keys")
			}
		}
		m.send(n.core.EndScan(m.now))
	}
	if asked := a.TakeChecks(); asked != nil {
		for i := range asked {
			_, asked[i].Held = n.store[asked[i].Key]
		}
		m.send(n.core.EndChecks(m.now, asked))
	}
}

func (m *mesh) send(out []Message) {
	m.queue = append(m.queue, out...)
	for _, o := range out {
		if o.Type == MsgBatch {
			m.announced += len(o.Changes)
		}
	}
	if !m.verbose {
		return
	}
	for _, o := range out {
		lost := ""
		if m.lossy[o.To] {
			lost = " (lost)"
		}
		fmt.Fprintf(&m.out, "%s -> %s %s%s\n", o.From, o.To, m.text(o), lost)
	}
}

func (m *mesh) deliver() {
	for len(m.queue) > 0 {
		o := m.queue[0]
		m.queue = m.queue[1:]
		n := m.nodes[o.To]
		if n == nil || n.dead || m.lossy[o.To] || m.nodes[o.From].dead || n.parted || m.nodes[o.From].parted || o.From == m.mute {
			continue
		}
		m.send(n.core.Step(m.now, o))
	}
}

func (m *mesh) show(word string) {
	key := m.key(word)
	home, backup := m.live()[0].core.Table().Homes(ShardOf(key))
	for i, id := range []shoal.NodeID{home, backup} {
		if id == "" {
			continue
		}
		d := m.nodes[id].core.Directory
		filler := ""
		if f, left, ok := d.Filler(m.now, key); ok {
			filler = fmt.Sprintf(" filler=%s for %d ms", f, left)
		}
		fmt.Fprintf(&m.out, "%s at %s %s: %v%s\n", word, []string{"home", "backup"}[i], id, d.Holders(key), filler)
	}
}

func (m *mesh) live() []*meshNode {
	nodes := slices.SortedFunc(maps.Values(m.nodes), func(a, b *meshNode) int {
		return cmp.Compare(a.member.ID, b.member.ID)
	})
	return slices.DeleteFunc(nodes, func(n *meshNode) bool { return n.dead })
}

func (m *mesh) key(word string) shoal.Key {
	key, ok := m.keys[word]
	if !ok {
		panic("no key " + word)
	}
	return key
}

func (m *mesh) name(key shoal.Key) string { return m.nameOf(HashKey(key)) }

func (m *mesh) nameOf(hash uint64) string {
	for w, k := range m.keys {
		if HashKey(k) == hash {
			return w
		}
	}
	return fmt.Sprintf("%016x", hash)
}

func (m *mesh) text(o Message) string {
	var b strings.Builder
	fmt.Fprint(&b, o.Type)
	if o.Seq > 0 {
		fmt.Fprintf(&b, " %d", o.Seq)
	}
	if o.Shards != nil {
		fmt.Fprintf(&b, " shards=%d", o.Shards.Len())
	}
	if o.Audited != nil {
		fmt.Fprintf(&b, " digests=%d", len(o.Digests))
	}
	for _, r := range o.Records {
		fmt.Fprintf(&b, " %s@%v", m.name(r.Key), r.Holders)
	}
	for _, key := range o.Keys {
		fmt.Fprintf(&b, " %s", m.name(key))
	}
	for _, r := range o.Resigned {
		fmt.Fprintf(&b, " %s", m.nameOf(r.Hash))
	}
	b.WriteString(m.orderText(o))
	for _, c := range o.Changes {
		sign := "-"
		if c.Held {
			sign = "+"
		}
		if o.Type == MsgCheck {
			sign = "?"
		}
		fmt.Fprintf(&b, " %s%s", sign, m.nameOf(c.hash()))
	}
	if o.Filler != "" {
		fmt.Fprintf(&b, " filler=%s lease=%d", o.Filler, o.Lease)
	}
	if o.End {
		b.WriteString(" end")
	}
	return b.String()
}

func answerText(a Answer) string {
	s := a.Kind.String()
	for _, n := range a.Nodes {
		s += " " + string(n)
	}
	if a.Lease > 0 {
		s += " lease=" + a.Lease.String()
	}
	return s
}
