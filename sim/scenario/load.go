package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A Setting is one key of a scenario and the value that takes the place of the file's. The key is
// a path: "fleet.nodes", "datasets.imagenet.policy", "datasets[0].replicas.max", "jobs.train.epochs".
// The value is as in the file.
type Setting struct {
	Key   string
	Value string
}

// Load reads the file name, or else the ready scenario of that name, and returns what it says
// with set in place, after defaults. The error joins one line for each violation.
func Load(name string, set ...Setting) (*Scenario, error) {
	data, err := Read(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, data, set...)
}

// Read returns the text of the file name, or else of the ready scenario of that name.
func Read(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if ready, readyErr := ReadyFile(name); readyErr == nil {
			return ready, nil
		}
	}
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is named once
		}
		return nil, fmt.Errorf("scenario: read %s: %w; name a file, or one of the ready scenarios: %s", name, err, strings.Join(Ready(), ", "))
	}
	return data, nil
}

// Parse returns the Scenario that data holds, with set in place, after defaults. name stands for
// data in errors. Settings apply in their order, with the same checks as what stands in a file.
func Parse(name string, data []byte, set ...Setting) (*Scenario, error) {
	s := defaults()
	doc := newDocument(name, data)
	if doc.decode(s) {
		for _, one := range set {
			doc.set(s, one)
		}
		doc.settle(s)
		newChecker(doc).check(s)
	}
	if err := doc.err(); err != nil {
		return nil, err
	}
	return s, nil
}
