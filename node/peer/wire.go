package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/shoal-mesh/shoal"
)

// The protocols, negotiated per stream by multistream-select. On both, requests and
// answers alternate; integers are big endian. An answer is frames, the first byte of each
// tells which; any number of frameAlive may precede any other frame.
//
//	callProtocol   request  length u32, then length bytes
//	               answer   frameAnswer length u32, then length bytes
//	                        | frameFailed length u16, then text | frameBusy
//
//	blockProtocol  request  key [20], length u32 of the whole block, first chunk u16, last chunk + 1 u16
//	               answer   (frameChunks n u8, n sums u32, the bytes of the next n chunks)...
//	                        until the last chunk asked for
//	                        | frameFailed length u16, then text, also between chunks
//	                        | frameAbsent | frameLength | frameBusy
//
// After an answer the stream is ready for the next request. Whoever reads something else
// resets the stream.
const (
	callProtocol  = "/shoal/call/1"
	blockProtocol = "/shoal/block/1"
)

// The frames of an answer.
const (
	frameAlive  = 1 // the answer takes time: nothing has arrived, but the line is good
	frameAnswer = 2
	frameChunks = 3
	frameAbsent = 4 // the block is not held here
	frameLength = 5 // the block is held with another length
	frameBusy   = 6
	frameFailed = 7
)

const (
	blockRequestLen = shoal.KeyLen + 8
	maxText         = 1 << 10 // bytes of an error's text
	maxChunks       = shoal.BlockSize / shoal.ChunkSize
)

// errGarbage says that the other end does not speak the protocol. The stream is lost.
var errGarbage = errors.New("protocol broken")

// A blockRequest asks for a part of a block.
type blockRequest struct {
	key shoal.Key
	Part
}

// valid reports whether there are such chunks.
func (p Part) valid() bool {
	return p.Length > 0 && p.Length <= shoal.BlockSize && p.First >= 0 && p.First < p.End && p.End <= shoal.Chunks(p.Length)
}

func (r blockRequest) appendTo(b []byte) []byte {
	b = r.key.AppendTo(b)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Length))
	b = binary.BigEndian.AppendUint16(b, uint16(r.First))
	return binary.BigEndian.AppendUint16(b, uint16(r.End))
}

// parseBlockRequest decodes the blockRequestLen bytes of b.
func parseBlockRequest(b []byte) (blockRequest, error) {
	key, ok := shoal.KeyFrom(b)
	if !ok || len(b) != blockRequestLen {
		return blockRequest{}, errGarbage
	}
	b = b[shoal.KeyLen:]
	r := blockRequest{key, Part{
		Length: int(binary.BigEndian.Uint32(b)), First: int(binary.BigEndian.Uint16(b[4:])), End: int(binary.BigEndian.Uint16(b[6:])),
	}}
	if !r.valid() {
		return blockRequest{}, fmt.Errorf("%w: chunks %d to %d of a block of %d bytes", errGarbage, r.First, r.End, r.Length)
	}
	return r, nil
}

// readUint16 and readUint32 read an integer with the help of the 4 bytes of scratch.
func readUint16(r io.Reader, scratch []byte) (int, error) {
	_, err := io.ReadFull(r, scratch[:2])
	return int(binary.BigEndian.Uint16(scratch)), err
}

func readUint32(r io.Reader, scratch []byte) (uint32, error) {
	_, err := io.ReadFull(r, scratch[:4])
	return binary.BigEndian.Uint32(scratch), err
}

// firstRead is how much of a call is allocated on its word; the rest as it arrives.
const firstRead = 64 << 10

// readBytes reads n bytes, at most limit, into a new slice.
func readBytes(r io.Reader, n uint32, limit int) ([]byte, error) {
	if int64(n) > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", errGarbage, n, limit)
	}
	p := make([]byte, 0, min(int(n), firstRead))
	for len(p) < int(n) {
		have := len(p)
		if have == cap(p) {
			grown := make([]byte, have, min(int(n), 2*have))
			copy(grown, p)
			p = grown
		}
		p = p[:cap(p)]
		if _, err := io.ReadFull(r, p[have:]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// appendText appends the frame that tells err.
func appendText(b []byte, err error) []byte {
	text := err.Error()
	text = text[:min(len(text), maxText)]
	b = append(b, frameFailed)
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// readText reads what follows frameFailed.
func readText(r io.Reader, scratch []byte) (string, error) {
	n, err := readUint16(r, scratch)
	if err != nil {
		return "", err
	}
	text, err := readBytes(r, uint32(n), maxText)
	return string(text), err
}

// refusal returns the error for a frame that says no in a single byte, nil for others.
func refusal(frame byte) error {
	switch frame {
	case frameAbsent:
		return fs.ErrNotExist
	case frameLength:
		return ErrLength
	case frameBusy:
		return ErrBusy
	}
	return nil
}
