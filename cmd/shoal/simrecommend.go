package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/report"
	"github.com/shoal-mesh/shoal/sim/result"
)

func simRecommendCmd() *cobra.Command {
	var settings simSettings
	var cfg sim.RecommendConfig
	var out simOutput
	c := &cobra.Command{
		Use: "recommend SCENARIO", Short: "Search better settings for a scenario, and print them to be pasted", Args: cobra.ExactArgs(1),
		Long: `Search settings of the scenario's datasets that are better than its own: policy,
replicas.max, replicas.classes and quotas. Wanted is, with engine "reads", that less is read from
the under file system once the caches are warm; with engine "time", that jobs wait less. Of
settings that are as good, those that write less to the caches are better.

A large scenario is searched with a sample of its blocks. What is found is confirmed with two
other seeds and the scenario's own sample, and is recommended only if it is better than the
current settings by more than seeds differ.

It prints what is gained, at which price, and the mounts of an agent's config
(docs/configuration.md).`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := settings.load(c, args[0])
		if err != nil {
			return err
		}
		show, done := simProgress(c.ErrOrStderr())
		cfg.Shoal, cfg.Progress = buildInfo().Version, show
		r, err := sim.Recommend(c.Context(), s, cfg)
		done()
		if err != nil {
			return simError(c, err)
		}
		return out.write(c, func(w io.Writer, width int) { report.RecommendTable(w, r, width) },
			simForm{out.json, func(w io.Writer) error { return result.WriteRecommendation(w, r) }})
	}
	settings.flags(c)
	f := c.Flags()
	f.IntVar(&cfg.Jobs, "jobs", 0, "runs at a time; 0: as many as there are processors")
	f.IntVar(&cfg.Budget, "budget", 200, "runs that the search may take; those that confirm come on top")
	f.Float64Var(&cfg.Reads, "reads", 500_000, "reads of one run of the search: of more a sample is taken")
	f.StringVar(&out.json, "json", "", `write the recommendation as JSON to this file ("-": standard output, instead of the table)`)
	return c
}
