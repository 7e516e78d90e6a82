package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/config"
)

func TestFresh(t *testing.T) {
	a := &Agent{cfg: &config.Config{Namespace: []config.Mount{
		{Path: "/data", Metadata: config.Metadata{TTL: time.Hour}},
		{Path: "/data/live", Metadata: config.Metadata{TTL: 0}},
	}}}
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		tests := []struct {
			name string
			e    shoal.Entry
			want time.Duration
		}{
			{"confirmed now", shoal.Entry{Mount: "/data", Fetched: now}, time.Hour},
			{"confirmed before", shoal.Entry{Mount: "/data", Fetched: now.Add(-20 * time.Minute)}, 40 * time.Minute},
			{"too old", shoal.Entry{Mount: "/data", Fetched: now.Add(-2 * time.Hour)}, 0},
			{"of a mount that asks every time", shoal.Entry{Mount: "/data/live", Fetched: now}, 0},
			{"above all mounts", shoal.Entry{Path: "/"}, time.Minute},
			{"where a mount is attached", shoal.Entry{Path: "/data", Mount: "/data"}, time.Minute},
		}
		for _, tt := range tests {
			if got := a.fresh(tt.e); got != tt.want {
				t.Errorf("%s: fresh() = %v, want %v", tt.name, got, tt.want)
			}
		}
	})
}
