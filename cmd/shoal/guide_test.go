package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTuningGuide runs all commands of docs/tuning.md as they are written, in the order in which
// they are there.
func TestTuningGuide(t *testing.T) {
	page, err := os.ReadFile("../../docs/tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands strings.Builder
	for i, block := range strings.Split(string(page), "```") {
		if script, ok := strings.CutPrefix(block, "sh\n"); ok && i%2 == 1 {
			commands.WriteString(script)
		}
	}
	if n := strings.Count(commands.String(), "shoal sim "); n < 10 {
		t.Fatalf("docs/tuning.md has %d commands, want at least 10: are they fenced with ```sh?", n)
	}
	dir := t.TempDir()
	script := "exec sh -e guide.sh\nstdout 'All expectations hold'\nexists sweep.html failures.html day.oracleGeneral\n-- guide.sh --\n" + commands.String()
	if err := os.WriteFile(filepath.Join(dir, "guide.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir})
}
