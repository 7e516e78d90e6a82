package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal/node/config"
)

// A TraceStatus tells of the recording of reads.
type TraceStatus struct {
	Path    string  `json:"path"`
	Share   float64 `json:"share"`           // of blocks
	Records int64   `json:"records"`         // written by this agent
	Dropped int64   `json:"dropped"`         // reads that are not in the trace, as the writer did not keep up, or failed
	Bytes   int64   `json:"bytes"`           // written by this agent
	Error   string  `json:"error,omitempty"` // why nothing is recorded any more
}

// openTraces begins to record reads, if the config says so. What fails is no reason not to
// serve: then nothing is recorded, which the log, the status and the metrics tell.
func (a *Agent) openTraces() {
	c := a.cfg.Trace
	if c.Path == "" {
		return
	}
	out, err := newTraceFiles(c.Path, a.self.Name, c.Share, int64(c.MaxSize))
	r := newRecorder(out, c.Share, a.fetch.costs.told, a.log.With("part", "trace"))
	r.check(err)
	a.onClose("trace", func() error { r.close(); return nil })
	a.files.trace = r
}

// tracing returns what has been recorded so far, nil if nothing is to be.
func (a *Agent) tracing() *TraceStatus { return traceStatus(a.cfg.Trace, a.files.trace) }

// traceStatus returns the status of a recorder with this config, nil of none.
func traceStatus(c config.Trace, r *recorder) *TraceStatus {
	if r == nil {
		return nil
	}
	s := &TraceStatus{Path: c.Path, Share: c.Share, Records: r.records.Load(), Dropped: r.dropped.Load(), Bytes: r.out.written.Load()}
	if err := r.failure.Load(); err != nil {
		s.Error = (*err).Error()
	}
	return s
}

// traceMetrics tells of the recording of reads, if there is one.
func traceMetrics(reg *prometheus.Registry, status func() *TraceStatus) {
	if status() == nil {
		return
	}
	total := func(name, help string, value func(s *TraceStatus) float64) {
		count(reg, "trace_"+name+"_total", help, nil, func() float64 { return value(status()) })
	}
	total("records", "Reads recorded in traces.", func(s *TraceStatus) float64 { return float64(s.Records) })
	total("dropped", "Reads that are not in the trace, as the writer did not keep up, or failed.", func(s *TraceStatus) float64 { return float64(s.Dropped) })
	total("bytes", "Bytes of traces written.", func(s *TraceStatus) float64 { return float64(s.Bytes) })
	total("errors", "Errors that ended the recording: 0 or 1.", func(s *TraceStatus) float64 {
		if s.Error != "" {
			return 1
		}
		return 0
	})
}
