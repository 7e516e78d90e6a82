package node

import (
	"reflect"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

func TestBlockInfoExplain(t *testing.T) {
	names := map[shoal.NodeID]string{"1": "one", "2": "two"}
	mine := shoal.Standing{Class: shoal.LastInZone, Keeper: true}
	one := Holder{ID: "1", Name: "one", Keeper: true, Class: "surplus"}
	two := Holder{ID: "2", Name: "two", Class: "excess"}
	self := Holder{ID: "1", Name: "one", Keeper: true, Class: "last-in-zone"}
	told := []replicas.Holder{{Node: "1", Keeper: true, Class: shoal.Surplus}, {Node: "2", Class: shoal.Excess}}
	tests := []struct {
		name   string
		local  bool
		answer replicas.Answer
		want   []Holder
		more   int
	}{
		{"the home knows", true, replicas.Answer{Kind: replicas.Held, Nodes: []shoal.NodeID{"2"}, Holders: told, More: 3}, []Holder{one, two}, 3},
		{"the home does not know that it went", false, replicas.Answer{Kind: replicas.Held, Holders: told}, []Holder{two}, 0},
		{"the home cannot tell", true, replicas.Answer{Kind: replicas.Unknown}, []Holder{self}, 0},
		{"the home does not know that it came", true, replicas.Answer{Kind: replicas.Held, Holders: told[1:]}, []Holder{two, self}, 0},
		{"it is one of those not named", true, replicas.Answer{Kind: replicas.Held, Holders: told[1:], More: 3}, []Holder{two, self}, 2},
		{"another is unknown", false, replicas.Answer{Holders: []replicas.Holder{{Node: "9"}}}, []Holder{{ID: "9", Class: "last"}}, 0},
	}
	for _, tt := range tests {
		b := BlockInfo{Local: tt.local}
		b.explain(tt.answer, "1", mine, names)
		if unknown := tt.answer.Kind == replicas.Unknown; b.Unknown != unknown {
			t.Errorf("%s: Unknown = %v, want %v", tt.name, b.Unknown, unknown)
		}
		if !reflect.DeepEqual(b.Holders, tt.want) || b.More != tt.more || b.Filler != nil {
			t.Errorf("%s: explain(%+v) = %+v, %d more, filler %v, want %+v, %d more", tt.name, tt.answer, b.Holders, b.More, b.Filler, tt.want, tt.more)
		}
	}
	var b BlockInfo
	b.explain(replicas.Answer{Kind: replicas.Filling, Nodes: []shoal.NodeID{"2"}}, "1", mine, names)
	if want := (Holder{ID: "2", Name: "two"}); len(b.Holders) != 0 || b.Filler == nil || *b.Filler != want {
		t.Errorf("explain(filling by 2) = %+v, filler %v, want none and %v", b.Holders, b.Filler, want)
	}
}
