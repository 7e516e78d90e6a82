package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestSearchPatience lets the homes of a key say that they cannot help: how often which
// of them is asked, and when it is told that this is the last time.
func TestSearchPatience(t *testing.T) {
	table := NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}})
	key := keyOf(table, "n1", "n2")
	for _, c := range []struct {
		name       string
		home       Kind
		silent     bool // the home does not answer
		backup     Kind
		peek       bool
		asks, last int
	}{
		{name: "both are warming", home: Unknown, backup: Unknown, asks: 6, last: 2},
		{name: "one is no home yet", home: NotOwner, backup: Unknown, asks: 16, last: 12},
		{name: "the home is silent", silent: true, backup: Unknown, asks: 4, last: 1},
		{name: "a peek", home: Unknown, backup: Unknown, peek: true, asks: 6, last: 0},
	} {
		s := NewSearch([]shoal.Key{key}, c.peek)
		asked, last := 0, 0
		for {
			asks, _ := s.Next(table, nil)
			if len(asks) == 0 {
				break
			}
			asked++
			if asks[0].Last {
				last++
			}
			switch {
			case asks[0].To == "n2":
				s.Answered(asks[0], []Answer{{Kind: c.backup}})
			case c.silent:
				s.Failed(asks[0])
			default:
				s.Answered(asks[0], []Answer{{Kind: c.home}})
			}
		}
		if asked != c.asks || last != c.last {
			t.Errorf("%s: %d asks, %d of them the last, want %d and %d", c.name, asked, last, c.asks, c.last)
		}
		if a := s.Answers()[0]; !c.peek && (a.Kind != Fill || a.Lease != 0) {
			t.Errorf("%s: ends with %v, want fill without a lease", c.name, answerText(a))
		}
	}
}
