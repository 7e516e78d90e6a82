package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// maxOutsiders bounds the hosts remembered as logged; the source of a packet can be
	// forged, so there is no end of them.
	maxOutsiders = 256
	// maxKinds bounds the kinds of memberlist's lines that are told apart.
	maxKinds = 64
	// kindLines is how many lines of one kind are logged in kindPeriod.
	kindLines  = 5
	kindPeriod = time.Minute
	// maxLine is where a line is cut; memberlist prints metadata byte by byte.
	maxLine = 240
)

// outsiders counts what was rejected, and logs each remote host once: a misconfigured
// node that retries for days is one line.
type outsiders struct {
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	counted Stats
	streams map[string]bool // hosts logged, at most maxOutsiders, as in the next two
	packets map[string]bool
	dials   map[string]bool // addresses, not hosts
	crowded bool            // BusyStreams is logged
}

func newOutsiders(log *slog.Logger) *outsiders {
	return &outsiders{log: log, streams: map[string]bool{}, packets: map[string]bool{}, dials: map[string]bool{}}
}

// stream counts a stream from host that was not admitted.
func (o *outsiders) stream(host string, err error) {
	reason := err.Error()
	switch {
	case errors.Is(err, ErrRefused):
		reason = ErrRefused.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "did not finish the handshake in time"
	}
	if o.first(o.streams, host, &o.counted.RejectedStreams, !errors.Is(err, errGoodbye)) {
		o.log.Warn("refused a gossip stream; further ones of this host are only counted", "host", host, "reason", reason)
	}
}

// packet counts a packet from host that memberlist dropped as not of this cluster.
func (o *outsiders) packet(host string) {
	if o.first(o.packets, host, &o.counted.RejectedPackets, true) {
		o.log.Warn("dropped a gossip packet; further ones of this host are only counted", "host", host,
			"reason", "not encrypted with this cluster's secret and name")
	}
}

// refused counts a dial to addr that ended in ErrRefused.
func (o *outsiders) refused(addr string) {
	if o.first(o.dials, addr, &o.counted.RefusedDials, true) {
		o.log.Warn("refused by a seed: " + ErrRefused.Error() + " from " + addr + "'s; trying again quietly")
	}
}

// busy counts a stream that was closed unheard.
func (o *outsiders) busy() {
	o.mu.Lock()
	first := !o.crowded
	o.crowded = true
	o.counted.BusyStreams++
	o.mu.Unlock()
	if first {
		o.log.Warn("too many gossip handshakes are pending; closing new streams unheard, and only counting them from now on")
	}
}

// first adds one to counter and, if worth a line, reports whether name is new to table.
func (o *outsiders) first(table map[string]bool, name string, counter *uint64, worth bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	*counter++
	if !worth || table[name] || len(table) >= maxOutsiders {
		return false
	}
	table[name] = true
	return true
}

func (o *outsiders) stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counted
}

// A logFilter is where memberlist's logger writes to. What strangers cause goes to
// outsiders; the rest is passed on, at a bounded rate per kind.
type logFilter struct {
	log       *slog.Logger
	strangers *outsiders

	mu    sync.Mutex // guards the fields below
	kinds map[string]*kind
}

// A kind is the lines that begin with the same two words.
type kind struct {
	since   time.Time // the current period's begin
	lines   int       // logged in it
	dropped int       // not logged in it
}

func newLogFilter(log *slog.Logger, strangers *outsiders) *logFilter {
	return &logFilter{log: log, strangers: strangers, kinds: make(map[string]*kind)}
}

// Write takes one line of memberlist's, "[LEVEL] memberlist: text". It never fails.
func (f *logFilter) Write(p []byte) (int, error) {
	level, line := parseLine(string(p))
	if host, ok := complaint(line); ok {
		f.strangers.packet(host)
		return len(p), nil
	}
	if !f.log.Enabled(context.Background(), level) {
		return len(p), nil
	}
	if dropped, ok := f.pass(line, time.Now()); ok {
		line = cutLine(line)
		if dropped > 0 {
			line = fmt.Sprintf("%s (%d more like it were not logged)", line, dropped)
		}
		f.log.Log(context.Background(), level, "memberlist: "+line)
	}
	return len(p), nil
}

// pass reports whether a line may be logged now, and how many of its kind were not
// since one was.
func (f *logFilter) pass(line string, now time.Time) (dropped int, ok bool) {
	words := strings.Fields(line)
	name := strings.Join(words[:min(2, len(words))], " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kinds[name]
	if k == nil && len(f.kinds) >= maxKinds {
		name = "" // all the others
		k = f.kinds[name]
	}
	if k == nil {
		k = &kind{since: now}
		f.kinds[name] = k
	}
	if now.Sub(k.since) >= kindPeriod {
		dropped = k.dropped
		*k = kind{since: now}
	}
	if k.lines >= kindLines {
		k.dropped++
		return 0, false
	}
	k.lines++
	return dropped, true
}

// parseLine returns the level and the text of a line of memberlist's.
func parseLine(line string) (slog.Level, string) {
	level := slog.LevelWarn // ERR and WARN: nothing of it is fatal to the node
	line = strings.TrimSpace(line)
	if tag, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(tag, "[") {
		switch tag {
		case "[DEBUG":
			level = slog.LevelDebug
		case "[INFO":
			level = slog.LevelInfo
		}
		line = rest
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// cutLine returns line, or its beginning if it is too long.
func cutLine(line string) string {
	if len(line) <= maxLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxLine], "") + "..."
}

// complaint returns the remote host if line complains of a packet that anyone, without
// the secret, can send.
func complaint(line string) (host string, ok bool) {
	for _, s := range []string{
		"Decrypt packet failed",
		"discarding packet with unacceptable label",
		"cannot decode label; packet",
		"label header cannot be empty",
		"UDP packet too short",
	} {
		if strings.HasPrefix(line, s) && strings.Contains(line, "from=") {
			// The last one: the text before it may quote the sender.
			return hostOf(line[strings.LastIndex(line, "from=")+len("from="):]), true
		}
	}
	return "", false
}
