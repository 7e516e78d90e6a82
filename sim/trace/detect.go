package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// What a head can look like besides a Format.
const (
	looksText   = "text"
	looksGzip   = "a gzip file (whose name must end in .gz)"
	looksZstd   = "a zstd file (whose name must end in .zst)"
	looksBinary = "a binary file"
)

// Detect guesses the format of the trace called name: by how its contents begin, then by its
// name, then by whether its first lines or records make sense.
func Detect(name string) (Format, error) {
	f, err := openFile(name)
	if err != nil {
		return "", fmt.Errorf("detect format of trace: %w", err)
	}
	format, err := detect(name, f.in.peek(headLen))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("detect format of trace %s: %w", name, err)
	}
	return format, nil
}

// detect guesses the format of the trace called name that begins with head.
func detect(name string, head []byte) (Format, error) {
	base := strings.ToLower(filepath.Base(name))
	base = strings.TrimSuffix(base, packing(base))
	looks := look(head)
	switch {
	case looks == Shoal || looks == LCS:
		return looks, nil
	case looks == looksGzip || looks == looksZstd:
		return "", fmt.Errorf("it looks like %s", looks)
	case looks == looksBinary && (strings.Contains(base, ".oraclegeneral") || plausible(head)):
		return OracleGeneral, nil
	case looks != looksBinary && strings.HasSuffix(base, ".csv"):
		return CSV, nil
	case looks == CSV || looks == Webcachesim:
		return looks, nil
	case len(head) == 0:
		return "", fmt.Errorf("%w: it is empty", live.ErrTruncated)
	}
	return "", fmt.Errorf("it looks like %s, and could be anything: name the format (%s)", looks, formats)
}

// mislabelled returns an error if what begins with head cannot be of this format.
func mislabelled(format Format, head []byte) error {
	looks := look(head)
	text := looks == CSV || looks == Webcachesim || looks == looksText
	fits := true
	switch format {
	case Shoal, LCS:
		fits = looks == format
	case OracleGeneral:
		fits = looks == looksBinary || text && len(head) < oracleLen // too short to tell
	case CSV, Webcachesim:
		fits = text
	}
	if fits {
		return nil
	}
	return fmt.Errorf("%w: offset 0: it looks like %s, not %s", live.ErrDamaged, looks, format)
}

// look returns what the head of a file looks like.
func look(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("SHOALTRC")):
		return Shoal
	case len(head) >= 8 && binary.LittleEndian.Uint64(head) == lcsMagic:
		return LCS
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return looksZstd
	case !isText(head):
		// The first bytes of gzip could also be a time, so records that make sense win.
		if bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}) && !plausible(head) {
			return looksGzip
		}
		return looksBinary
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.ContainsAny(line, ",;|\t") {
		return CSV
	}
	fields := bytes.Fields(line)
	for _, f := range fields[:min(3, len(fields))] {
		if f[0] < '0' || f[0] > '9' {
			return looksText
		}
	}
	if len(fields) < 3 {
		return looksText
	}
	return Webcachesim
}

// isText reports whether b has none of the bytes that text does not have, and that every
// binary record has: the index of a next request is negative, or has zeros in front.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f || c == 0xff {
			return false
		}
	}
	return true
}

// plausible reports whether head makes sense as records of oracleGeneral.
func plausible(head []byte) bool {
	whole := len(head) / oracleLen * oracleLen
	d := newOracle(newInput(bytes.NewReader(head[:whole])))
	n, err := d.next(make([]Record, headLen/oracleLen))
	return n > 0 && (err == nil || errors.Is(err, io.EOF))
}
