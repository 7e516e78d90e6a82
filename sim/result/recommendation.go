package result

import (
	"fmt"
	"io"
)

// A Recommendation is the best settings that a search has found for a scenario, beside those that
// the scenario has.
type Recommendation struct {
	Schema string `json:"schema"`
	Shoal  string `json:"shoal"`
	Name   string `json:"name"`
	Engine string `json:"engine"`
	Seed   uint64 `json:"seed"`
	Hash   string `json:"config_hash"` // of the scenario as it is

	Objective    string   `json:"objective"`     // what is to be small
	Runs         int      `json:"runs"`          // that were made in all
	Unfinished   bool     `json:"unfinished"`    // the search ended before it had tried all
	SearchSample float64  `json:"search_sample"` // the share of blocks that was searched with
	Sample       float64  `json:"sample"`        // the same of the runs that confirm, which is the scenario's
	Seeds        []uint64 `json:"seeds"`         // of the runs that confirm

	// Better says that the settings found beat the scenario's own with each of Seeds, by more
	// than seeds differ.
	Better bool `json:"better"`
	// Changes are the settings that were found; with Better false they only looked better in the
	// search. None: nothing did.
	Changes []Change `json:"changes"`
	// Rows are the means over Seeds: A of the scenario as it is, B of what was found.
	Rows []Row `json:"rows"`
	// Config is what to paste into an agent's config; "" if nothing is better.
	Config string `json:"config"`
	// Notes are what else there is to know.
	Notes []string `json:"notes"`
}

// A Change is one setting that is to be another.
type Change struct {
	Key         string `json:"key"` // of the scenario: "datasets.imagenet.policy"
	Current     string `json:"current"`
	Recommended string `json:"recommended"`
}

// WriteRecommendation writes r as JSON, indented. The same values give the same bytes.
func WriteRecommendation(w io.Writer, r *Recommendation) error {
	c := *r
	c.Schema = RecommendationSchema
	if err := encode(w, c); err != nil {
		return fmt.Errorf("write recommendation for %q: %w", r.Name, err)
	}
	return nil
}
