package node

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch has a peer send chunks of the block that is watched, and of others, at some moments, and
// checks when it is given up.
func TestWatch(t *testing.T) {
	const limit, most = 2 * time.Second, 20 * time.Second
	every := func(d, end time.Duration) (times []time.Duration) {
		for at := d; at <= end; at += d {
			times = append(times, at)
		}
		return times
	}
	for _, tc := range []struct {
		name         string
		mine, others []time.Duration
		want         time.Duration
	}{
		{"silent", nil, nil, limit},
		{"silent after a while", every(time.Second, 7*time.Second), nil, 7*time.Second + limit},
		{"slow", every(limit-1, 5*(limit-1)), nil, 5*(limit-1) + limit},
		{"silent a while after others", nil, every(500*time.Millisecond, 3*time.Second), 3*time.Second + limit},
		{"others only", nil, every(500*time.Millisecond, time.Minute), most},
		{"one and others", []time.Duration{5 * time.Second}, every(time.Second, time.Minute), 5*time.Second + most},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var all pulses
				begun, gaveUp := time.Now(), make(chan time.Duration, 1)
				w := &watch{limit: limit, most: most, peer: all.peer("n1"), giveUp: func() { gaveUp <- time.Since(begun) }}
				defer w.end()
				w.begin()
				for _, at := range tc.mine {
					time.AfterFunc(at, w.chunk)
				}
				for _, at := range tc.others {
					time.AfterFunc(at, func() { all.peer("n1").beat(time.Now()) })
				}
				time.AfterFunc(limit/2, func() { all.peer("n2").beat(time.Now()) }) // of no use
				if got := <-gaveUp; got != tc.want {
					t.Errorf("gave up after %v, want %v", got, tc.want)
				}
				time.Sleep(2 * time.Minute) // the other moments
			})
		})
	}
}
