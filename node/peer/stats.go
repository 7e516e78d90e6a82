package peer

import "sync/atomic"

// Stats is a snapshot of what a Host has done since it was made.
type Stats struct {
	Connections   int64 // open now
	BytesIn       int64 // of blocks fetched, calls' answers, and requests handled
	BytesOut      int64 // of blocks served, calls' requests, and answers given
	BlocksFetched int64 // to the last chunk
	BlocksServed  int64 // to the last chunk
	CallsMade     int64 // answered, also with an error
	CallsServed   int64
	Dials         int64
	DialErrors    int64
	Refused       int64 // connections: of strangers, or too many per second
	Busy          int64 // requests answered ErrBusy by this node
	Garbage       int64 // streams cut because the other end broke the protocol
	Stalled       int64 // requests of this node cut after StallTimeout without a byte
}

// counters is where a Host counts.
type counters struct {
	connections, bytesIn, bytesOut, blocksFetched, blocksServed, callsMade, callsServed,
	dials, dialErrors, busy, garbage, stalled atomic.Int64
}

// Stats returns what the host has done so far.
func (h *Host) Stats() Stats {
	c := &h.counts
	return Stats{
		Connections:   c.connections.Load(),
		BytesIn:       c.bytesIn.Load(),
		BytesOut:      c.bytesOut.Load(),
		BlocksFetched: c.blocksFetched.Load(),
		BlocksServed:  c.blocksServed.Load(),
		CallsMade:     c.callsMade.Load(),
		CallsServed:   c.callsServed.Load(),
		Dials:         c.dials.Load(),
		DialErrors:    c.dialErrors.Load(),
		Refused:       h.gate.refusals(),
		Busy:          c.busy.Load(),
		Garbage:       c.garbage.Load(),
		Stalled:       c.stalled.Load(),
	}
}
