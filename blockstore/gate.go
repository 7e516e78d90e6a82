package blockstore

import "sync"

// A gate has what changes both memory and the index be done as a whole: many go in side by side,
// but nobody while it is shut, when one who compares the two sees neither without the other. It is
// taken without the disk's mu, which may be taken behind it. Nobody behind it waits for a claim or
// goes in once more.
type gate struct {
	mu   sync.RWMutex
	wait func() // called by who is to wait; nil but in tests
}

// enter begins a change.
func (g *gate) enter() {
	if !g.mu.TryRLock() {
		g.willWait()
		g.mu.RLock()
	}
}

// leave ends what enter began.
func (g *gate) leave() { g.mu.RUnlock() }

// alone calls do while nobody else is behind the gate.
func (g *gate) alone(do func() error) error {
	if !g.mu.TryLock() {
		g.willWait()
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	return do()
}

func (g *gate) willWait() {
	if g.wait != nil {
		g.wait()
	}
}
