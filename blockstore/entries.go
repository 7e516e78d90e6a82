package blockstore

import "github.com/shoal-mesh/shoal"

// entries keeps what is in memory of each block of a disk: 32 bytes, no pointer. They lie in
// pages, so that growing never copies more than a list of pages. The number of an entry says
// where its block lies: see places.
type entries struct {
	pages  [][]entry
	used   int       // visible blocks
	passed [][]uint8 // passes by page; nil where there are none, as everywhere while nothing is handed over
}

// An entry is one block; length is 0 when there is none.
type entry struct {
	key     shoal.Key
	sum     shoal.Sum // of the block: BlockSum of its chunk sums
	length  uint32    // bytes, at most BlockSize
	dataset uint16
	state   state
	marks   marks
}

// A state is how far a block has come.
type state uint8

const (
	stateFree     state = iota
	stateWriting        // taken by a put, not visible
	stateVisible        // in the table
	stateLeaving        // hidden; its room is given back when nobody reads it any more
	stateDeleted        // leaving, and out of the index
	stateUnusable       // bad: not used again by this run
	stateHole           // no block; a sparse container keeps its room on the disk all the same
)

// A past says what a power loss may have done to a block before it was shown.
type past uint8

const (
	pastNone     past = iota // it is of this run
	pastSynced               // it is of an earlier run, and was durable: at most its place was used again
	pastUnsynced             // it is of an earlier run, and may never have been written whole
)

// marks are what else there is to know of a block: its past, its replica's standing, and what is
// to become of that.
type marks uint8

const (
	markPast   marks = 3      // a past
	markClass  marks = 3 << 2 // a shoal.Class
	markKeeper marks = 1 << 4 // not to be given up without its home's consent
	markAsked  marks = 1 << 5 // that has been asked for, and not come yet
	markFreed  marks = 3 << 6 // the dearest shoal.Class with which Free is to give it up; Last: it stays

	classShift, freedShift = 2, 6
)

func (m marks) past() past         { return past(m & markPast) }
func (m marks) class() shoal.Class { return shoal.Class(m & markClass >> classShift) }
func (m marks) freed() shoal.Class { return shoal.Class(m & markFreed >> freedShift) }
func (m marks) has(bit marks) bool { return m&bit != 0 }

func marksOf(s shoal.Standing) marks {
	m := marks(s.Class) << classShift & markClass
	if s.Keeper {
		m |= markKeeper
	}
	return m
}

const entriesPerPage = 1 << 12

// at returns entry n, which must have been grown to.
func (t *entries) at(n uint32) *entry { return &t.pages[n/entriesPerPage][n%entriesPerPage] }

// passes returns how often the block of entry n was handed over since it was read last: see
// Config.Forward.
func (t *entries) passes(n uint32) uint8 {
	if i := n / entriesPerPage; i < uint32(len(t.passed)) && t.passed[i] != nil {
		return t.passed[i][n%entriesPerPage]
	}
	return 0
}

func (t *entries) setPasses(n uint32, passes uint8) {
	if t.passes(n) == passes {
		return
	}
	i := n / entriesPerPage
	for uint32(len(t.passed)) <= i {
		t.passed = append(t.passed, nil)
	}
	if t.passed[i] == nil {
		t.passed[i] = make([]uint8, entriesPerPage)
	}
	t.passed[i][n%entriesPerPage] = passes
}

// span returns the entries of the granule that begins with n.
func (t *entries) span(n uint32) []entry {
	return t.pages[n/entriesPerPage][n%entriesPerPage:][:granule]
}

// grow makes room for entries below n.
func (t *entries) grow(n uint32) {
	for uint32(len(t.pages))*entriesPerPage < n {
		t.pages = append(t.pages, make([]entry, entriesPerPage))
	}
}

// end returns the number after the last entry there is room for.
func (t *entries) end() uint32 { return uint32(len(t.pages)) * entriesPerPage }
