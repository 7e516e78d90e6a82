package node

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/shoal-mesh/shoal"
)

// lastTiers remembers from which tier each file was read last: of the files read of late, as
// every file has one of its 65,536 places and others have it too. Each read writes to it, so
// it takes no lock and allocates nothing. Its zero value is empty and ready.
type lastTiers [1 << 16]atomic.Uint64

// note says that a file has been read from a tier now.
func (l *lastTiers) note(file shoal.FileID, t shoal.Tier) {
	place, tag := l.at(file)
	if v := tag | uint64(t+1); place.Load() != v {
		place.Store(v)
	}
}

// of returns the tier a file was read from last, shoal.Tiers if that is not known.
func (l *lastTiers) of(file shoal.FileID) shoal.Tier {
	place, tag := l.at(file)
	if v := place.Load(); v&^3 == tag && v != tag {
		return shoal.Tier(v&3 - 1)
	}
	return shoal.Tiers
}

// at returns a file's place, and what tells it from the others there: bits of its hash, with room
// for a tier below them, which is 0 where nothing was noted.
func (l *lastTiers) at(file shoal.FileID) (place *atomic.Uint64, tag uint64) {
	hash := binary.LittleEndian.Uint64(file[:])
	return &l[hash>>48], hash &^ 3
}
