package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Nodes is a set of node numbers, in ascending order: "0-7,9", "3", or "all". An empty one was
// not given.
type Nodes []int

// everyNode stands for all nodes in a set that is read, until it is known how many there are.
const everyNode = -1

// String returns the text that UnmarshalText reads; "" for the empty set.
func (n Nodes) String() string {
	if slices.Contains(n, everyNode) {
		return "all"
	}
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		part := strconv.Itoa(n[i])
		if j > i {
			part += "-" + strconv.Itoa(n[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// MarshalText returns String's text.
func (n Nodes) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads "all", or numbers and ranges of them with commas between.
func (n *Nodes) UnmarshalText(text []byte) error {
	if string(text) == "all" {
		*n = Nodes{everyNode}
		return nil
	}
	var member [maxNodes]bool
	for part := range strings.SplitSeq(string(text), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		low, err1 := strconv.ParseUint(first, 10, 31)
		high, err2 := strconv.ParseUint(last, 10, 31)
		switch {
		case err1 != nil || err2 != nil:
			return errors.New("not nodes; write 3, 0-7,9 or all")
		case low > high:
			return fmt.Errorf("a range that ends before it begins; write %d-%d", high, low)
		case high >= maxNodes:
			return fmt.Errorf("no fleet has a node %d; the last is %d at most", high, maxNodes-1)
		}
		for i := low; i <= high; i++ {
			member[i] = true
		}
	}
	*n = nil
	for i, is := range member {
		if is {
			*n = append(*n, i)
		}
	}
	return nil
}

// resolved returns n in a fleet of so many nodes: all of them for "all".
func (n Nodes) resolved(fleet int) Nodes {
	if !slices.Contains(n, everyNode) || fleet < 1 || fleet > maxNodes {
		return n
	}
	all := make(Nodes, fleet)
	for i := range all {
		all[i] = i
	}
	return all
}
