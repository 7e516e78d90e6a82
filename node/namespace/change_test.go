package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

func TestOnChange(t *testing.T) {
	told := make(chan change, 100)
	w := newWorld(t, "d/a", "d/b", "d/c")
	w.cfg.OnChange = func(parent uint64, name string, oldID uint64) { told <- change{parent: parent, name: name, id: oldID} }
	w.open()
	dir := resolve(t, w.Namespace, "/data/d").ID
	checkList(t, w.Namespace, "/data/d", "a", "b", "c")
	old := map[string]uint64{}
	for _, name := range []string{"a", "b", "c"} {
		old[name] = resolve(t, w.Namespace, "/data/d/"+name).ID
	}
	w.ufs.Put("d/a", nil)
	w.ufs.Remove("d/b")
	w.clock.advance(time.Minute)
	resolve(t, w.Namespace, "/data/d/a")
	checkList(t, w.Namespace, "/data/d", "a", "c")
	w.ufs.Remove("d/c")
	w.clock.advance(time.Minute)
	if _, err := w.Resolve(t.Context(), "/data/d/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve(c) = %v, want fs.ErrNotExist", err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if got, want := <-told, (change{parent: dir, name: name, id: old[name]}); got != want {
			t.Errorf("OnChange(%v), want %v", got, want)
		}
	}
	if len(told) != 0 {
		t.Errorf("%d more calls of OnChange, want 0", len(told))
	}
}

// TestOnChangeTellsOfNewNames has names come that were known to be absent, from a listing and from
// a Stat; the names of a first listing nobody has missed.
func TestOnChangeTellsOfNewNames(t *testing.T) {
	told := make(chan change, 100)
	w := newWorld(t, "d/a", "e/a")
	w.cfg.OnChange = func(parent uint64, name string, oldID uint64) { told <- change{parent: parent, name: name, id: oldID} }
	w.open()
	d, e := resolve(t, w.Namespace, "/data/d").ID, resolve(t, w.Namespace, "/data/e").ID
	checkList(t, w.Namespace, "/data/d", "a")
	absent := func(path string) {
		t.Helper()
		if _, err := w.Resolve(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%s) = %v, want fs.ErrNotExist", path, err)
		}
	}
	absent("/data/d/b") // says the listing
	absent("/data/e/b") // says a Stat
	absent("/data/e/c")
	for _, name := range []string{"d/b", "d/c", "e/b", "e/c"} {
		w.ufs.Put(name, nil)
	}
	w.clock.advance(time.Minute)
	resolve(t, w.Namespace, "/data/d/b")
	checkList(t, w.Namespace, "/data/d", "a", "b", "c")
	resolve(t, w.Namespace, "/data/e/c")
	checkList(t, w.Namespace, "/data/e", "a", "b", "c")
	for _, want := range []change{{parent: d, name: "b"}, {parent: d, name: "c"}, {parent: e, name: "c"}, {parent: e, name: "b"}} {
		if got := <-told; got != want {
			t.Errorf("OnChange(%v), want %v", got, want)
		}
	}
	if len(told) != 0 {
		t.Errorf("%d more calls of OnChange, want 0", len(told))
	}
}

// TestOnChangeBounded has many names change while the first change is being told, and room
// for few in RAM: the others wait in the store, and what the process leaves there the next
// one tells.
func TestOnChangeBounded(t *testing.T) {
	const names, room = 100, 10
	told, over := make(chan string), make(chan struct{})
	w := newWorld(t)
	w.cfg.OnChange = func(_ uint64, name string, _ uint64) {
		select {
		case told <- name:
		case <-over:
		}
	}
	reopen := func() {
		w.open()
		w.changes.limit = room
	}
	replace := func() {
		t.Helper()
		for i := range names {
			name := fmt.Sprintf("%02d", i)
			w.ufs.Put("d/"+name, nil)
			w.clock.advance(time.Minute)
			resolve(t, w.Namespace, "/data/d/"+name)
		}
	}
	reopen()
	replace() // all are new
	replace()
	w.changes.mu.Lock()
	if n := len(w.changes.queue); n > room {
		t.Errorf("%d changes wait in RAM, want %d at most", n, room)
	}
	w.changes.mu.Unlock()
	for got := map[string]bool{}; len(got) < names; {
		got[<-told] = true
	}

	replace()
	ended := over
	go func() { // what is being told ends after the queue has
		<-w.changes.stop
		close(ended)
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	over = make(chan struct{})
	reopen()
	t.Cleanup(func() { close(over) }) // before the namespace is closed, which waits for what is being told
	left := map[string]bool{}
	for len(left) < names-2*room { // the others waited in RAM, or were being told
		left[<-told] = true
	}
}
