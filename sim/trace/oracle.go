package trace

import (
	"encoding/binary"
	"fmt"
	"math"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	oracleLen = 24 // a request of oracleGeneral
	never     = -1 // what is said to be the next request of an id that has none
	maxIndex  = 1 << 48
)

// An oracle decodes oracleGeneral.
type oracle struct {
	foreign
	in *input
}

func newOracle(in *input) *oracle { return &oracle{newForeign(OracleGeneral), in} }

func (d *oracle) next(batch []Record) (int, error) {
	n := 0
	for n < len(batch) {
		b, err := d.in.records(oracleLen, len(batch)-n)
		if err != nil {
			return n, d.located(d.in.offset(), err)
		}
		for i := 0; i+oracleLen <= len(b); i += oracleLen {
			ok, err := d.decode(&batch[n], b[i:i+oracleLen])
			if err != nil {
				return n, d.located(d.in.offset()+int64(i), err)
			}
			if ok {
				n++
			}
		}
		d.in.take(len(b))
	}
	return n, nil
}

// decode reads the oracleLen bytes b, and reports whether they are a record.
func (d *oracle) decode(r *Record, b []byte) (bool, error) {
	_ = b[oracleLen-1]
	next := int64(binary.LittleEndian.Uint64(b[16:]))
	// Where it points is of no use here, since blocks are not chosen by it, but what is no
	// index at all tells that these are not requests. libCacheSim takes MaxInt64 for never.
	if uint64(next)+1 > maxIndex && next != math.MaxInt64 {
		return false, fmt.Errorf("%w: next request at index %d: is it no oracleGeneral trace?", live.ErrDamaged, next)
	}
	time := int64(binary.LittleEndian.Uint32(b)) * second
	return d.accept(r, time, binary.LittleEndian.Uint64(b[4:]), uint64(binary.LittleEndian.Uint32(b[12:])))
}
