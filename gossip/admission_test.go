package gossip

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAdmission(t *testing.T) {
	key := func(secret, cluster string) []byte {
		k, err := deriveKeys([]byte(secret), cluster)
		if err != nil {
			t.Fatal(err)
		}
		return k.admit
	}
	tests := []struct {
		name             string
		dialer, acceptor []byte
		want             error
	}{
		{"same", key(testSecret, "c"), key(testSecret, "c"), nil},
		{"other secret", key(strings.ToUpper(testSecret), "c"), key(testSecret, "c"), ErrRefused},
		{"other cluster", key(testSecret, "d"), key(testSecret, "c"), ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			granted := make(chan error, 1)
			go func() { granted <- grantAdmission(theirs, tt.acceptor) }()
			if err := askAdmission(ours, tt.dialer); !errors.Is(err, tt.want) {
				t.Errorf("askAdmission() = %v, want %v", err, tt.want)
			}
			if err := <-granted; !errors.Is(err, tt.want) {
				t.Errorf("grantAdmission() = %v, want %v", err, tt.want)
			}
		})
	}
}

// One who only claims to have admitted us is found out too.
func TestAdmissionIsMutual(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		var h hello
		var proof, answer [33]byte
		_, _ = io.ReadFull(theirs, h[:])
		_, _ = theirs.Write(h[:]) // our own nonce back
		_, _ = io.ReadFull(theirs, proof[:32])
		answer[0] = admitted
		copy(answer[1:], proof[:32]) // our own proof back
		_, _ = theirs.Write(answer[:])
	}()
	if err := askAdmission(ours, []byte("key")); !errors.Is(err, ErrRefused) {
		t.Errorf("askAdmission(impostor) = %v, want %v", err, ErrRefused)
	}
}

// A stranger gets to send the fixed length of the handshake and no byte more.
func TestStrangerIsCutOff(t *testing.T) {
	tests := []struct {
		name string
		send []byte
		most int
		want error
	}{
		{"garbage", make([]byte, 1<<20), helloLen, errNoAgent},
		{"right magic", append([]byte(magic), make([]byte, 1<<20)...), helloLen + 32, ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			sent := make(chan int, 1)
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			go func() {
				n, _ := theirs.Write(tt.send)
				sent <- n
			}()
			if err := grantAdmission(ours, []byte("key")); !errors.Is(err, tt.want) {
				t.Errorf("grantAdmission() = %v, want %v", err, tt.want)
			}
			_ = ours.Close()
			if n := <-sent; n > tt.most {
				t.Errorf("stranger sent %d bytes, want at most %d", n, tt.most)
			}
			_ = theirs.Close()
		})
	}
}

func TestSilentStrangerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _ = theirs.Close() }()
		begin := time.Now()
		tr := &transport{timeout: 2 * time.Second}
		err := tr.handshake(ours, time.Time{}, grantAdmission)
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != tr.timeout {
			t.Errorf("handshake(silent) = %v after %v, want %v after %v", err, took, os.ErrDeadlineExceeded, tr.timeout)
		}
	})
}

// Nodes with another secret or of another cluster run alone, and are one line in each
// log however often they try.
func TestOutsidersAreRefused(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	const tries = 6
	quick := func(c *Config) {
		joining(a)(c)
		c.RejoinInterval = c.JoinBackoff
	}
	secret := startNode(t, "b", func(c *Config) {
		quick(c)
		c.Bind, c.Secret = "127.0.0.2:0", []byte(strings.ToUpper(testSecret))
	})
	cluster := startNode(t, "c", func(c *Config) {
		quick(c)
		c.Bind, c.Cluster = "127.0.0.3:0", "fleet-b"
	})
	for _, n := range []*testNode{secret, cluster} {
		n.awaitFailures(t, tries)
		if err := n.JoinError(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), a.Addr().String()) {
			t.Errorf("JoinError() = %v, want %v from %v", err, ErrRefused, a.Addr())
		}
		if got := n.Stats(); got.Members != 1 || got.RefusedDials < tries {
			t.Errorf("Stats() of a refused node = %+v, want 1 member and %d refused dials", got, tries)
		}
		if err := n.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
		if got := n.log.with(""); len(got) != 1 || !strings.Contains(got[0], "refused by a seed") {
			t.Errorf("log of a refused node = %q, want one line", got)
		}
	}
	if got := a.Stats(); got.Members != 1 || got.RejectedStreams < 2*tries {
		t.Errorf("Stats() = %+v, want 1 member and %d rejected streams", got, 2*tries)
	}
	for _, host := range []string{"host=127.0.0.2", "host=127.0.0.3"} {
		if got := a.log.with(host); len(got) != 1 {
			t.Errorf("log lines with %s = %q, want one", host, got)
		}
	}
}

// An attacker claims that 20 MiB follow, which memberlist itself would take in.
func TestAttackOnStreams(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	const attacks = 3
	for range attacks {
		conn, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		name := label("fleet-a")
		claim := append([]byte{244, byte(len(name))}, name...)
		claim = append(claim, 10) // memberlist's encrypted message
		claim = binary.BigEndian.AppendUint32(claim, 20<<20)
		if _, err := conn.Write(append(claim, make([]byte, 1<<10)...)); err != nil {
			t.Errorf("Write(claim) = %v, want nil", err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("Read() after the claim = %d, %v, want a closed connection", n, err)
		}
		_ = conn.Close()
	}
	if got := a.Stats().RejectedStreams; got != attacks {
		t.Errorf("RejectedStreams = %d, want %d", got, attacks)
	}
	if got := a.log.with("not a Shoal agent"); len(got) != 1 {
		t.Errorf("log lines of %d attacks = %q, want one", attacks, got)
	}
	b := startNode(t, "b", joining(a))
	b.await(t, "two members", ids("a", "b"))
}

// One host that stalls fills its share of the pending handshakes, not all of them.
func TestPendingHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", func(c *Config) { c.HandshakeTimeout = time.Minute })
	for range maxHandshakesPerHost {
		conn, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	conn, err := net.Dial("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("Read() of one stream too many = %d, %v, want a closed connection", n, err)
	}
	if got := a.Stats().BusyStreams; got != 1 {
		t.Errorf("BusyStreams = %d, want 1", got)
	}
	b := startNode(t, "b", func(c *Config) { joining(a)(c); c.Bind = "127.0.0.2:0" })
	b.await(t, "two members", ids("a", "b"))
}

func TestAttackWithPackets(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	conn, err := net.Dial("udp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	name := label("fleet-a")
	labelled := append([]byte{244, byte(len(name))}, name...)
	for _, p := range [][]byte{
		[]byte("garbage"),
		{244},
		{244, 0},
		{244, 3, 'a', 'b', 'c'},
		slices.Concat(labelled, make([]byte, 100)),
		slices.Concat(labelled, []byte{1}, make([]byte, 1000)),
	} {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	a.log.await(t, "dropped a gossip packet")
	b := startNode(t, "b", joining(a))
	b.await(t, "two members", ids("a", "b"))
	a.await(t, "two members", ids("a", "b"))
	if err := a.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	if got := a.log.with("host=127.0.0.1"); len(got) != 1 || len(a.log.with("memberlist")) != 0 {
		t.Errorf("log = %q, want one line about the packets", a.log.with(""))
	}
	if got := a.Stats().RejectedPackets; got == 0 || got > 6 {
		t.Errorf("RejectedPackets = %d, want 1 to 6", got)
	}
}
