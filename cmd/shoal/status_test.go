package main

import (
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/node"
)

func TestPrintTrace(t *testing.T) {
	tests := []struct {
		status *node.TraceStatus
		want   string
	}{
		{nil, ""},
		{
			&node.TraceStatus{Path: "/t", Share: 0.015, Records: 1234, Dropped: 5, Bytes: 3 << 20},
			"records the reads of 1.5% of the blocks in /t: 1234 so far (3.0 MiB), 5 dropped\n",
		},
		{&node.TraceStatus{Path: "/t", Share: 1, Records: 7, Error: "no space left"}, "recorded 7 reads; no more are: no space left\n"},
	}
	for _, tt := range tests {
		var out strings.Builder
		printTrace(&out, tt.status)
		if got := out.String(); got != tt.want {
			t.Errorf("printTrace(%+v) = %q, want %q", tt.status, got, tt.want)
		}
	}
}
