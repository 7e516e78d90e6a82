package scenario

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestReference holds docs/simulator.md to the code: every key has one line there, with its
// default, no other has, and the example and the ready scenarios are as they are.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, example, _ := strings.Cut(page, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := Parse("simulator.md", []byte(example)); err != nil {
		t.Errorf("the smallest scenario: %v", err)
	}
	for _, name := range Ready() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if line := "| `" + name + "` | " + s.About + " |\n"; !strings.Contains(page, line) {
			t.Errorf("docs/simulator.md has no line %s", line)
		}
	}
	rows := rowsOf(page)
	var d Dataset
	d.setDefaults()
	var j Job
	j.setDefaults()
	wantRows(t, rows, "", reflect.ValueOf(*defaults()))
	wantRows(t, rows, "fleet.slow", reflect.ValueOf(Slow{}))
	wantRows(t, rows, "datasets", reflect.ValueOf(d))
	wantRows(t, rows, "jobs", reflect.ValueOf(j))
	wantRows(t, rows, "events", reflect.ValueOf(Event{}))
	for key := range rows {
		t.Errorf("docs/simulator.md has a line for %s, which is no key", key)
	}
}

// rowsOf returns the columns of defaults in the tables of keys, by key.
func rowsOf(page string) map[string]string {
	rows := make(map[string]string)
	keys := false
	for line := range strings.Lines(page) {
		columns := strings.Split(line, "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			keys = false
		case strings.HasPrefix(line, "| key |"):
			keys = true
		case keys && len(columns) == 6 && !strings.HasPrefix(line, "| ---"):
			rows[strings.Trim(columns[1], " `")] = strings.TrimSpace(columns[3])
		}
	}
	return rows
}

// wantRows takes from rows those of the struct v, which key names.
func wantRows(t *testing.T, rows map[string]string, key string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		name := join(key, tagOf(v.Type(), i))
		got, ok := rows[name]
		if !ok {
			t.Errorf("docs/simulator.md has no line for %s", name)
		}
		delete(rows, name)
		field := reflect.New(v.Field(i).Type()).Elem()
		field.Set(v.Field(i))
		if !isScalar(field) && field.Kind() == reflect.Struct {
			wantRows(t, rows, name, field)
			continue
		}
		want := "`[]`"
		if isScalar(field) {
			if want = "`" + text(field.Interface()) + "`"; want == "``" {
				want = "`\"\"`"
			}
		}
		switch {
		case got == "required" && field.IsZero():
		case got == "" && field.Type() == reflect.TypeFor[Nodes]():
		case name == "jobs.name":
		case got != want:
			t.Errorf("docs/simulator.md says of %s that its default is %s, want %s", name, got, want)
		}
	}
}
