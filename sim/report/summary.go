package report

import (
	"fmt"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// summary tells in sentences what r found.
func summary(r *result.Result) []string {
	if r.Total.Reads == 0 {
		return []string{"Nothing was read."}
	}
	var s []string
	s = append(s, ufsSentence(r))
	if a := r.Total.Amplification; a > 0 {
		were := "were"
		if digits(a) == "1" {
			were = "was"
		}
		s = append(s, fmt.Sprintf("For each distinct byte that was read, %s %s fetched from the UFS.", digits(a), were))
	}
	s = append(s, timeSentences(r)...)
	if n := r.Evictions.LastLost; n > 0 {
		s = append(s, fmt.Sprintf("%s last copies were lost to a race: the keepers' protocol did not hold.", count(float64(n))))
	}
	if r.Sample > 0 && r.Sample < 1 {
		s = append(s, fmt.Sprintf("This is a sample, %s of the blocks: counts and bytes are of these.", digits(r.Sample*100)+" %"))
	}
	if n := failed(r); n > 0 {
		s = append(s, fmt.Sprintf("Expectations that fail: %d of %d.", n, len(r.Expect)))
	} else if len(r.Expect) > 0 {
		s = append(s, "All expectations hold.")
	}
	return s
}

// ufsSentence says how much came from the UFS, and how much had to.
func ufsSentence(r *result.Result) string {
	if r.Warm.Reads == 0 {
		return fmt.Sprintf("%s of reads came from the UFS, all of them before the caches were warm.", share(r.Total.Tiers.UFS.Share))
	}
	got := r.Warm.Tiers.UFS.Share
	s := share(got) + " of reads came from the UFS"
	if r.Warm.Reads < r.Total.Reads {
		s += fmt.Sprintf(" once the caches were warm (%s of all reads)", share(r.Total.Tiers.UFS.Share))
	}
	least := 1 - r.Bound.HitShare
	switch {
	case r.Bound.Kind == "":
		return s + "."
	case r.Bound.Distance < -0.0005:
		return fmt.Sprintf("%s, less than the bound of %s (%s), which is not one for this work.", s, share(least), r.Bound.Kind)
	}
	return fmt.Sprintf("%s; no policy could have gone below %s (%s).", s, share(least), r.Bound.Kind)
}

// timeSentences say how long the first jobs waited, and how long all took at least.
func timeSentences(r *result.Result) []string {
	var s []string
	if r.Engine != "time" {
		return nil
	}
	end := 0.0
	for _, j := range r.Jobs {
		end = max(end, j.End)
		if len(s) < 3 && j.Compute > 0 {
			what := "reads"
			if j.Kind == "write" {
				what = "writes"
			}
			s = append(s, fmt.Sprintf("Ranks of %s waited %s for %s: its GPU utilisation is %s.", j.Name, seconds(j.Stall), what, share(j.GPU)))
		}
	}
	if r.Bound.Seconds > 0 {
		s = append(s, fmt.Sprintf("The last job ended after %s; no way of sharing the links takes less than %s.", seconds(end), seconds(r.Bound.Seconds)))
	}
	return s
}

func failed(r *result.Result) int {
	n := 0
	for _, v := range r.Expect {
		if !v.Holds {
			n++
		}
	}
	return n
}

// measures returns the measures of these names; names that there are not are left out.
func measures(names ...string) []result.Measure {
	var found []result.Measure
	for _, name := range names {
		for _, m := range result.Measures() {
			if m.Name == name {
				found = append(found, m)
			}
		}
	}
	return found
}

// setup says in a line what was simulated.
func setup(r *result.Result) string {
	s := []string{"engine " + r.Engine, nodes(r), "caches of " + size(float64(r.CacheBytes)), seconds(r.Seconds) + " simulated"}
	return strings.Join(s, " · ")
}

func nodes(r *result.Result) string {
	s := commas(int64(r.Nodes)) + " nodes"
	if r.Nodes == 1 {
		s = "1 node"
	}
	if r.Zones > 1 {
		s += fmt.Sprintf(" in %d zones", r.Zones)
	}
	return s
}
