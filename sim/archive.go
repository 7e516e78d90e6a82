package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// An archive makes runs, and keeps their results in a directory, if it has one: each in a file
// named by its config hash, which is there whole or not at all.
type archive struct {
	dir   string
	shoal string // the version of results; those of others are not taken
}

// result returns the result of a scenario, and whether it was there already. Made or kept, it
// has passed through its written form.
func (a archive) result(ctx context.Context, s *scenario.Scenario) (r *result.Result, old bool, err error) {
	if r, err = a.load(s); r != nil || err != nil {
		return r, r != nil, err
	}
	if r, err = Run(ctx, s); err != nil {
		return nil, false, err
	}
	r.Shoal = a.shoal
	var text bytes.Buffer
	if err := result.Write(&text, r); err != nil {
		return nil, false, err
	}
	if err := a.save(a.file(s), text.Bytes()); err != nil {
		return nil, false, fmt.Errorf("keep result: %w", err)
	}
	r, err = result.Read(&text)
	return r, false, err
}

func (a archive) file(s *scenario.Scenario) string {
	return filepath.Join(a.dir, scenario.Hash(s)+".json")
}

// load returns the result of a scenario that is kept; nil if there is none. One of another
// version or schema, or a damaged one, is none: it is made anew.
func (a archive) load(s *scenario.Scenario) (*result.Result, error) {
	if a.dir == "" {
		return nil, nil
	}
	text, err := os.ReadFile(a.file(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kept result: %w", err)
	}
	r, err := result.Read(bytes.NewReader(text))
	if err != nil || r.Hash != scenario.Hash(s) || r.Shoal != a.shoal {
		return nil, nil
	}
	r.Name, r.About = s.Name, s.About // they are not in the hash
	return r, nil
}

// save writes a file so that it is there whole or not at all.
func (a archive) save(name string, text []byte) error {
	if a.dir == "" {
		return nil
	}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(a.dir, ".result-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
