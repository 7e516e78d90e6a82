package gossip

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Admission is what every stream begins with, before memberlist sees it, because
// memberlist would take in megabytes before it finds that they do not decrypt. Both
// ends prove that they know the key; what is read before that has a fixed length.
//
//	dialer -> acceptor   magic, nonce D         36 bytes
//	acceptor -> dialer   magic, nonce A         36 bytes
//	dialer -> acceptor   MAC(dialer, D, A)      32 bytes
//	acceptor -> dialer   verdict, MAC(acceptor, D, A), zeros if refused   33 bytes
//
// The dialer proves itself first, so that a stranger who connects learns nothing that a
// guess of the secret could be tried on. Bytes after admission are memberlist's, which
// encrypts them; an attacker on the path who takes over an admitted stream can make it
// fail, and make this end buffer up to memberlist's limit, but not forge a message.
const (
	magic    = "SHG1" // the digit is the version of the handshake
	nonceLen = 32
	helloLen = len(magic) + nonceLen

	admitted = 1 // verdict; any other value is a refusal
)

var (
	errNoAgent = errors.New("not a Shoal agent, or one of another gossip version")
	errGoodbye = errors.New("closed without a word") // a port probe: not worth a log line
)

// keys are derived from the cluster's secret and name: to know one is no help with
// the other.
type keys struct {
	packet []byte // AES-256, memberlist's encryption of packets and streams
	admit  []byte // HMAC-SHA256, admission
}

func deriveKeys(secret []byte, cluster string) (keys, error) {
	packet, err := hkdf.Key(sha256.New, secret, nil, "shoal gossip packet v1 "+cluster, 32)
	if err != nil {
		return keys{}, err
	}
	admit, err := hkdf.Key(sha256.New, secret, nil, "shoal gossip admission v1 "+cluster, sha256.Size)
	return keys{packet: packet, admit: admit}, err
}

// askAdmission is the dialer's side. ErrRefused means that the two ends do not have the
// same key, whichever of them found out.
func askAdmission(conn io.ReadWriter, key []byte) error {
	mine := newHello()
	if _, err := conn.Write(mine[:]); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	theirs, err := readHello(conn)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	proof := mac(key, "dialer", mine, theirs)
	if _, err := conn.Write(proof[:]); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	var answer [1 + sha256.Size]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	want := mac(key, "acceptor", mine, theirs)
	if answer[0] != admitted || !hmac.Equal(answer[1:], want[:]) {
		return ErrRefused
	}
	return nil
}

// grantAdmission is the acceptor's side. It reads at most 68 bytes.
func grantAdmission(conn io.ReadWriter, key []byte) error {
	theirs, err := readHello(conn)
	if err != nil {
		return err
	}
	mine := newHello()
	if _, err := conn.Write(mine[:]); err != nil {
		return err
	}
	var proof [sha256.Size]byte
	if _, err := io.ReadFull(conn, proof[:]); err != nil {
		return err
	}
	var answer [1 + sha256.Size]byte
	want := mac(key, "dialer", theirs, mine)
	if !hmac.Equal(proof[:], want[:]) {
		_, err := conn.Write(answer[:])
		return errors.Join(ErrRefused, err)
	}
	ours := mac(key, "acceptor", theirs, mine)
	answer[0] = admitted
	copy(answer[1:], ours[:])
	_, err = conn.Write(answer[:])
	return err
}

// A hello is the magic and a nonce that is never used twice.
type hello [helloLen]byte

func newHello() hello {
	var h hello
	copy(h[:], magic)
	_, _ = rand.Read(h[len(magic):]) // crypto/rand.Read never returns an error
	return h
}

func readHello(r io.Reader) (hello, error) {
	var h hello
	switch n, err := io.ReadFull(r, h[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		return h, errGoodbye
	case n >= len(magic) && string(h[:len(magic)]) != magic:
		return h, errNoAgent
	case err != nil:
		return h, err
	}
	return h, nil
}

// mac proves knowledge of key to the one who chose either nonce. role keeps a proof from
// being sent back to the one it came from.
func mac(key []byte, role string, dialer, acceptor hello) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(role))
	h.Write(dialer[:])
	h.Write(acceptor[:])
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}
