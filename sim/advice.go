package sim

import (
	"fmt"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// changes returns in what the datasets of b are set otherwise than those of a.
func changes(a, b *scenario.Scenario) []result.Change {
	all := []result.Change{}
	for i, d := range a.Datasets {
		e := b.Datasets[i]
		for _, c := range []result.Change{
			{Key: "policy", Current: d.Policy, Recommended: e.Policy},
			{Key: "quota", Current: d.Quota.String(), Recommended: e.Quota.String()},
			{Key: "replicas.max", Current: d.Replicas.Max.String(), Recommended: e.Replicas.Max.String()},
			{Key: "replicas.classes", Current: fmt.Sprint(d.Replicas.Classes), Recommended: fmt.Sprint(e.Replicas.Classes)},
		} {
			if c.Current != c.Recommended {
				c.Key = "datasets." + d.Name + "." + c.Key
				all = append(all, c)
			}
		}
	}
	return all
}

// configOf returns the mounts of an agent's config (docs/configuration.md) for the datasets of s.
// What a scenario does not know is left to whoever pastes it.
func configOf(r *result.Recommendation, s *scenario.Scenario) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# For %s\n# (seed %d, shoal %s, config %s).\n", s.Name, r.Seed, r.Shoal, r.Hash)
	b.WriteString("# The same on every node. Each mount keeps its ufs, s3, metadata and write.\n")
	b.WriteString("namespace:\n")
	for _, d := range s.Datasets {
		fmt.Fprintf(&b, "  - path: \"/%s\"\n", d.Name)
		if !isRead(s, d.Name) {
			b.WriteString("    # No job of the scenario reads it: as it was.\n")
		}
		fmt.Fprintf(&b, "    policy: %s\n", d.Policy)
		quota := "0"
		if d.Quota > 0 {
			quota = d.Quota.String()
		}
		fmt.Fprintf(&b, "    quota: %s\n", quota)
		fmt.Fprintf(&b, "    replicas: {min: %d, max: %v, classes: %t}\n", d.Replicas.Min, d.Replicas.Max, d.Replicas.Classes)
		if d.Forward > 0 {
			fmt.Fprintf(&b, "    forward: %v\n", d.Forward)
		}
	}
	b.WriteString("# What the scenario's fleet has besides is not in an agent's config.\n")
	return b.String()
}
