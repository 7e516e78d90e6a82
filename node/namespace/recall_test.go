package namespace

import (
	"fmt"
	"testing"
)

func TestRecall(t *testing.T) {
	c := newRecall()
	of, other := nameOf{7, "a"}, nameOf{8, "a"}
	_, edits, ok := c.find(of)
	if ok {
		t.Fatal("find in an empty one = true, want false")
	}
	c.add(of, nameRecord{id: 1}, edits)
	if r, _, ok := c.find(of); !ok || r.id != 1 {
		t.Errorf("find = %v, %v, want the record", r, ok)
	}
	if _, _, ok := c.find(other); ok {
		t.Error("find of the name in another directory = true, want false")
	}
	c.drop([]nameOf{of})
	if _, _, ok := c.find(of); ok {
		t.Error("find of what was dropped = true, want false")
	}
}

// What was read before an edit is not kept after it.
func TestRecallReadBeforeEdit(t *testing.T) {
	c := newRecall()
	of := nameOf{7, "a"}
	_, edits, _ := c.find(of)
	c.drop([]nameOf{of})
	c.add(of, nameRecord{id: 1}, edits)
	if r, _, ok := c.find(of); ok {
		t.Errorf("find = %v, want nothing: it was read before the edit", r)
	}
}

func TestRecallIsBounded(t *testing.T) {
	c := newRecall()
	for i := range 2 * maxRecalled {
		of := nameOf{7, fmt.Sprint(i)}
		_, edits, _ := c.find(of)
		c.add(of, nameRecord{id: uint64(i)}, edits)
		if r, _, ok := c.find(of); !ok || r.id != uint64(i) {
			t.Fatalf("find(%d) = %v, %v, want the record that was added last", i, r, ok)
		}
	}
	kept := 0
	for i := range c.shards {
		kept += len(c.shards[i].names)
	}
	if kept > maxRecalled || kept < maxRecalled/2 {
		t.Errorf("%d names are kept, want %d at most, and nearly as many", kept, maxRecalled)
	}
}
