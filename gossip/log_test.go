package gossip

import (
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogFilterBoundsEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newLines()
		logger := log.New(newLogFilter(slog.New(got), newOutsiders(slog.New(got))), "", 0)
		for i := range 20 {
			logger.Printf("[WARN] memberlist: Refuting a suspect message (from: n%d)", i)
		}
		logger.Printf("[INFO] memberlist: Suspect n1 has failed, no acks received")
		logger.Printf("[DEBUG] memberlist: Stream connection from=127.0.0.1:1")
		logger.Printf("[ERR] memberlist: Push/Pull with n1 failed: %s", strings.Repeat("x", 1000))
		if n := len(got.with("WARN memberlist: Refuting")); n != kindLines {
			t.Errorf("lines of a kind in a minute = %d, want %d", n, kindLines)
		}
		if n := len(got.with("INFO memberlist: Suspect n1")); n != 1 {
			t.Errorf("lines of another kind = %d, want 1", n)
		}
		if long := got.with("Push/Pull"); len(long) != 1 || len(long[0]) > maxLine+40 {
			t.Errorf("a long line = %q, want it cut", long)
		}
		if n := len(got.with("Stream connection")); n != 0 {
			t.Errorf("debug lines at level info = %d, want 0", n)
		}
		time.Sleep(kindPeriod) // fake time
		logger.Printf("[WARN] memberlist: Refuting a suspect message (from: n1)")
		if n := len(got.with("(15 more like it were not logged)")); n != 1 {
			t.Errorf("lines that tell of the dropped ones = %d, want 1; log %q", n, got.with(""))
		}
	})
}

func TestLogFilterKindsAreBounded(t *testing.T) {
	f := newLogFilter(slog.New(newLines()), nil)
	for i := range 1000 {
		_, _ = fmt.Fprintf(f, "[ERR] memberlist: kind%d of line", i)
	}
	if n := len(f.kinds); n > maxKinds+1 {
		t.Errorf("kinds remembered = %d, want at most %d", n, maxKinds+1)
	}
}

func TestOutsidersTableIsBounded(t *testing.T) {
	got := newLines()
	o := newOutsiders(slog.New(got))
	for i := range 10 * maxOutsiders {
		o.packet(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	if n := len(got.with("")); n != maxOutsiders {
		t.Errorf("lines of %d hosts = %d, want %d", 10*maxOutsiders, n, maxOutsiders)
	}
	if s := o.stats(); s.RejectedPackets != 10*maxOutsiders {
		t.Errorf("RejectedPackets = %d, want %d", s.RejectedPackets, 10*maxOutsiders)
	}
}

func TestComplaint(t *testing.T) {
	for line, want := range map[string]string{
		"Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.1:99": "10.0.0.1",
		`discarding packet with unacceptable label "x from=1.2.3.4:5": from=[fd00::1]:99`:     "fd00::1",
		"UDP packet too short (65536 bytes) from=10.0.0.1:99":                                 "10.0.0.1",
		"Failed to decode alive message: eof from=10.0.0.1:99":                                "",
		"Push/Pull with n1 failed: Decrypt packet failed from=10.0.0.1:99":                    "",
	} {
		if got, ok := complaint(line); got != want || ok != (want != "") {
			t.Errorf("complaint(%q) = %q, %v, want %q", line, got, ok, want)
		}
	}
}
