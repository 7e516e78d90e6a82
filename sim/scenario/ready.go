package scenario

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed testdata/*.yaml
var readyFiles embed.FS

// Ready returns the names of the scenarios that come with the package, in the order of the
// alphabet.
func Ready() []string {
	entries, err := readyFiles.ReadDir("testdata")
	if err != nil {
		panic("scenario: " + err.Error()) // they are part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// ReadyFile returns the file of the ready scenario name, for people to read and to change.
func ReadyFile(name string) ([]byte, error) {
	data, err := readyFiles.ReadFile("testdata/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("scenario: no ready scenario %q; there are %s", name, strings.Join(Ready(), ", "))
	}
	return data, nil
}
