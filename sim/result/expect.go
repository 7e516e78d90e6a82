package result

import (
	"errors"
	"fmt"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// Judge tells for each expectation what r has there, and whether it holds. One on what r has not,
// like a job that is not in it, does not hold; the error joins these, and the verdicts are whole
// all the same.
func Judge(r *Result, expect []scenario.Expectation) ([]Verdict, error) {
	verdicts := make([]Verdict, 0, len(expect))
	var errs []error
	for _, e := range expect {
		v := Verdict{Expect: e.String()}
		got, err := Lookup(r, e.Metric)
		if err != nil {
			errs = append(errs, fmt.Errorf("result: expect %q: %w", v.Expect, err))
		} else {
			v.Got, v.Holds = got, e.Holds(got)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, errors.Join(errs...)
}
