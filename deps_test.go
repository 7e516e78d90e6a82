package shoal_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of this module; what lies below it is named without it here.
const module = "github.com/shoal-mesh/shoal"

// A room is one package of the house: on which floor it lies and which rooms below its
// code may enter. The dictionary, "", is open to all.
type room struct {
	floor int
	dir   string // from the module's root; it stands for the directories below it too
	knows []string
}

// house is design.md §2, from the roof down. Code enters only the rooms that are listed;
// its tests may enter every room that is not above them. A package that is not in here
// does not belong to the house.
func house() []room {
	return []room{
		{6, "cmd/shoal", []string{"node", "sim", "node/config", "blockstore", "fuse", "gossip", "node/namespace", "node/peer", "replicas", "ufs", "ufs/local", "ufs/s3"}},

		{5, "node", []string{"node/config", "node/gateway", "fuse", "node/namespace", "replicas", "gossip", "node/peer", "blockstore", "blockstore/policy", "node/trace", "ufs", "ufs/hdfs", "ufs/local", "ufs/s3"}},
		{5, "sim", []string{"replicas", "blockstore/policy", "node/trace"}},

		{4, "fuse", nil},
		{4, "node/gateway", nil},
		{4, "node/config", nil},

		{3, "node/namespace", []string{"ufs"}},
		{3, "replicas", nil},

		{2, "gossip", nil},
		{2, "node/peer", nil},
		{2, "blockstore", []string{"blockstore/policy"}},
		{2, "ufs/hdfs", []string{"ufs"}},
		{2, "ufs/local", []string{"ufs"}},
		{2, "ufs/s3", []string{"ufs"}},
		{2, "ufs/ufstest", []string{"ufs"}},
		{2, "ufs", nil},

		{1, "blockstore/policy", nil},
		{1, "node/trace", nil},

		{0, "", nil},
	}
}

// A library is an outside module and the rooms that know it.
type library struct {
	prefix string
	rooms  []string
}

// libraries is the rest of design.md §2: each outside technology is known to one room
// (metadata is the one exception). docs/libraries.md says why each is here.
func libraries() []library {
	return []library{
		{"github.com/hashicorp/memberlist", []string{"gossip"}},
		{"github.com/libp2p/go-libp2p", []string{"node/peer"}},
		{"github.com/multiformats", []string{"node/peer"}},
		{"github.com/cockroachdb/pebble", []string{"blockstore", "node/namespace"}},
		{"github.com/hanwen/go-fuse", []string{"fuse"}},
		{"github.com/aws", []string{"ufs/s3"}},
		{"github.com/colinmarc/hdfs", []string{"ufs/hdfs"}},
		{"github.com/prometheus/client_golang", []string{"node"}},
		{"github.com/goccy/go-yaml", []string{"node/config", "sim"}},
		{"github.com/klauspost/compress", []string{"node/trace", "sim"}},
		{"github.com/spf13/cobra", []string{"cmd/shoal"}},
		{"github.com/dustin/go-humanize", []string{"cmd/shoal"}},
		{"github.com/schollz/progressbar", []string{"cmd/shoal"}},
		// A hash, and what the standard library leaves out of itself, hide no technology:
		// they are open to whoever needs them, but each use is written down.
		{"github.com/zeebo/xxh3", []string{"replicas", "node/namespace", "cmd/shoal"}},
		{"golang.org/x/sync", []string{"node", "blockstore", "ufs/s3", "ufs/hdfs", "node/namespace", "node/peer", "cmd/shoal", "sim"}},
		{"golang.org/x/sys", []string{"node", "blockstore", "fuse", "ufs/local", "node/peer", "cmd/shoal"}},
	}
}

// testLibraries are for tests alone.
func testLibraries() []string {
	return []string{
		"github.com/cockroachdb/datadriven",
		"github.com/google/go-cmp",
		"github.com/rogpeppe/go-internal/testscript",
		"go.uber.org/goleak",
		"pgregory.net/rapid",
	}
}

// topLevel is what may lie at the top of the repository; names that begin with a dot,
// what make builds and the Go files of the dictionary may too.
func topLevel() []string {
	return []string{
		"cmd", "node", "gossip", "blockstore", "replicas", "fuse", "ufs", "sim", "deploy", "docs",
		"go.mod", "go.sum", "Makefile", "README.md", "CONTRIBUTING.md", "LICENSE",
		"bin", "coverage.out",
	}
}

// A source is what one Go file imports.
type source struct {
	file    string // path from the module's root
	imports []string
}

// broken returns the rules that s breaks, each as a line that says what to do.
func broken(s source) []string {
	here, ok := roomOf(path.Dir(s.file))
	if !ok {
		return []string{fmt.Sprintf("%s: %s is no room of the house: give it a place in deps_test.go and design.md §2", s.file, path.Dir(s.file))}
	}
	var rules []string
	test := strings.HasSuffix(s.file, "_test.go")
	for _, name := range s.imports {
		if rule := brokenBy(here, name, test); rule != "" {
			rules = append(rules, fmt.Sprintf("%s imports %s: %s", s.file, name, rule))
		}
	}
	return rules
}

// brokenBy returns the rule that the room here breaks by importing name, "" if none.
func brokenBy(here room, name string, test bool) string {
	if name == module {
		return ""
	}
	if dir, ok := strings.CutPrefix(name, module+"/"); ok {
		return brokenInside(here, dir, test)
	}
	if !strings.Contains(strings.Split(name, "/")[0], ".") {
		return "" // the standard library
	}
	return brokenOutside(here, name, test)
}

func brokenInside(here room, dir string, test bool) string {
	there, ok := roomOf(dir)
	switch {
	case !ok:
		return dir + " is no room of the house"
	case there.dir == here.dir:
		return ""
	case there.floor > here.floor:
		return fmt.Sprintf("imports go down only, and it lies on floor %d above floor %d", there.floor, here.floor)
	case test || slices.Contains(here.knows, there.dir):
		return ""
	case there.floor == here.floor:
		return fmt.Sprintf("rooms of one floor (%d) do not know one another", here.floor)
	}
	return fmt.Sprintf("%s knows only %q: declare the small interface it needs, and let node hand it in", here.dir, here.knows)
}

func brokenOutside(here room, name string, test bool) string {
	for _, l := range testLibraries() {
		if under(name, l) {
			if test {
				return ""
			}
			return "it is for tests alone"
		}
	}
	for _, l := range libraries() {
		if under(name, l.prefix) {
			if test || slices.Contains(l.rooms, here.dir) {
				return ""
			}
			return fmt.Sprintf("it is known to %s alone", strings.Join(l.rooms, " and "))
		}
	}
	return "an unknown library: give it a room in deps_test.go and a line in docs/libraries.md"
}

// roomOf returns the room that the directory dir, from the module's root, belongs to.
func roomOf(dir string) (room, bool) {
	if dir == "." {
		dir = ""
	}
	best, found := room{}, false
	for _, r := range house() {
		match := r.dir == dir || (r.dir != "" && r.dir != "ufs" && r.dir != "node" && under(dir, r.dir))
		if match && (!found || len(r.dir) > len(best.dir)) {
			best, found = r, true
		}
	}
	return best, found
}

// under reports whether name is prefix or lies below it.
func under(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, s := range sources(t) {
		for _, rule := range broken(s) {
			t.Error(rule)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !belongs(name, e.IsDir()) {
			t.Errorf("%s does not belong at the top of the repository (design.md §2): move it into a folder of the house", name)
		}
	}
}

// belongs reports whether name may lie at the top of the repository.
func belongs(name string, dir bool) bool {
	if strings.HasPrefix(name, ".") || slices.Contains(topLevel(), name) {
		return true
	}
	return !dir && slices.Contains([]string{".go", ".prof", ".test"}, filepath.Ext(name))
}

func TestLibrariesAreExplained(t *testing.T) {
	page, err := os.ReadFile("docs/libraries.md")
	if err != nil {
		t.Fatal(err)
	}
	names := testLibraries()
	for _, l := range libraries() {
		if l.prefix != "github.com/colinmarc/hdfs" { // its driver is not built yet
			names = append(names, l.prefix)
		}
	}
	for _, name := range names {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/libraries.md has no line on %s", name)
		}
	}
}

// TestRulesCanFail shows the rules made-up files that break them, and a few that do not.
func TestRulesCanFail(t *testing.T) {
	tests := []struct {
		file, imports string
		want          string // part of the rule; "" if none is broken
	}{
		{"replicas/x.go", module + "/gossip", "replicas knows only"},
		{"replicas/x.go", module + "/node/peer", "replicas knows only"},
		{"replicas/x.go", module + "/blockstore", "replicas knows only"},
		{"replicas/x.go", module + "/node/namespace", "one floor (3)"},
		{"replicas/x.go", module + "/node", "floor 5 above floor 3"},
		{"replicas/x_test.go", module + "/node", "floor 5 above floor 3"},
		{"replicas/x.go", module, ""},
		{"replicas/x.go", "github.com/zeebo/xxh3", ""},
		{"blockstore/policy/lru.go", "github.com/zeebo/xxh3", "known to replicas and node/namespace and cmd/shoal alone"},
		{"blockstore/policy/lru.go", module + "/blockstore", "floor 2 above floor 1"},
		{"gossip/x.go", module + "/node/peer", "one floor (2)"},
		{"node/peer/x.go", "github.com/hashicorp/memberlist", "known to gossip alone"},
		{"node/x.go", "github.com/hashicorp/memberlist/internal", "known to gossip alone"},
		{"node/x_test.go", "github.com/hashicorp/memberlist", ""},
		{"gossip/x.go", "github.com/hashicorp/memberlistx", "unknown library"},
		{"ufs/s3/x.go", module + "/ufs/local", "one floor (2)"},
		{"ufs/s3/x.go", module + "/ufs", ""},
		{"ufs/ufs.go", module + "/ufs/s3", "one floor (2)"},
		{"fuse/x.go", module + "/node/namespace", "fuse knows only"},
		{"sim/x.go", module + "/gossip", "sim knows only"},
		{"sim/x.go", module + "/replicas", ""},
		{"sim/x.go", "time", ""},
		{"node/x.go", "pgregory.net/rapid", "for tests alone"},
		{"node/x.go", "example.org/left-pad", "unknown library"},
		{"node/x.go", module + "/node/util", "no room"},
		{"node/util/x.go", "fmt", "no room"},
		{"util/x.go", "fmt", "no room"},
		{"shoal.go", module + "/ufs", "floor 2 above floor 0"},
		{"shoal.go", "golang.org/x/sys/unix", "alone"},
	}
	for _, tt := range tests {
		got := strings.Join(broken(source{tt.file, []string{tt.imports}}), "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("broken(%s imports %s) = %q, want %q", tt.file, tt.imports, got, tt.want)
		}
	}
	for name, dir := range map[string]bool{"util": true, "notes.txt": false, "go": true, "x.go": true} {
		if belongs(name, dir) {
			t.Errorf("belongs(%q, %v) = true, want false", name, dir)
		}
	}
}

// sources returns the imports of every Go file of the module. Directories of another
// module, of test data, and those whose names begin with a dot are no part of it.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			base := e.Name()
			if name != "." && (base == "testdata" || base == "bin" || base == "deploy" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		s, err := parse(name)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse returns what the Go file name imports.
func parse(name string) (source, error) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return source{}, err
	}
	s := source{file: filepath.ToSlash(name)}
	for _, i := range f.Imports {
		quoted, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, quoted)
	}
	return s, nil
}
