package trace

import (
	live "github.com/shoal-mesh/shoal/node/trace"
)

// agents reads what agents recorded.
type agents struct{ r *live.Reader }

func newAgents(in *input) (*agents, error) {
	r, err := live.NewReader(in)
	if err != nil {
		return nil, ended(err)
	}
	return &agents{r}, nil
}

func (a *agents) next(batch []Record) (int, error) {
	for n := range batch {
		if err := a.r.Next(&batch[n]); err != nil {
			return n, err
		}
	}
	return len(batch), nil
}

func (a *agents) tell() About {
	h := a.r.Header()
	return About{Format: Shoal, Start: h.Start, Share: h.Share, Nodes: a.r.Nodes(), Datasets: a.r.Datasets()}
}
