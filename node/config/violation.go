package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// A violation is one thing wrong with a document.
type violation struct {
	line int    // 0: of the document as a whole
	key  string // "" when no key is known
	text string // the rest of the line
}

// err joins the violations in the order of their lines; nil if there are none.
func (d *document) err() error {
	slices.SortStableFunc(d.violations, func(a, b violation) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, v := range d.violations {
		place := d.name
		if v.line > 0 {
			place = fmt.Sprintf("%s:%d", d.name, v.line)
		}
		if v.key != "" {
			place += ": " + v.key
		}
		errs = append(errs, fmt.Errorf("%s: %s", place, v.text))
	}
	return errors.Join(errs...)
}

// refused reports whether key, or what it is a part of, has been refused.
func (d *document) refused(key string) bool {
	return slices.ContainsFunc(d.violations, func(v violation) bool {
		rest, ok := strings.CutPrefix(key, v.key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// refuse reports that key cannot have value. A key is reported once, by the first thing
// found wrong with it or with what it is a part of.
func (d *document) refuse(key, value, cause string) {
	if d.refused(key) {
		return
	}
	d.violations = append(d.violations, violation{d.lineOf(key), key, fmt.Sprintf("%q: %s", value, cause)})
}

// refuseLine reports a violation for which the whole line is shown.
func (d *document) refuseLine(line int, key, cause string) {
	d.violations = append(d.violations, violation{line, key, cause + d.quote(line)})
}

// refuseUnknown reports a field that key has not, with the one that may be meant.
func (d *document) refuseUnknown(line int, key, name string, fields map[string]reflect.Value) {
	cause := "unknown field"
	switch near := nearest(name, slices.Sorted(maps.Keys(fields))); {
	case secretName().MatchString(name + ":"):
		cause += "; secrets are not written in this file: name a file that holds it"
	case near != "":
		cause += fmt.Sprintf("; did you mean %q?", near)
	default:
		cause += "; remove it, the fields here are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	}
	d.refuseLine(line, join(key, name), cause)
}

// lineOf returns the line of key, or of the nearest thing around it that the document
// has, or 0.
func (d *document) lineOf(key string) int {
	for key != "" {
		if n, ok := d.lines[key]; ok {
			return n
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// quote returns line for the end of a message, unless it may hold a secret.
func (d *document) quote(line int) string {
	if line < 1 || line > len(d.text) {
		return ""
	}
	text := strings.TrimSpace(d.text[line-1])
	if secretName().MatchString(text) {
		return "; the line is not shown, it may hold a secret"
	}
	if runes := []rune(text); len(runes) > 100 {
		text = string(runes[:100]) + "..."
	}
	return "; in the line: " + text
}

// secretName matches the name of a field whose value is a secret. The name of a file
// that holds one is none.
func secretName() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(secret|password|passwd|token|key|key_?id)["']?\s*:`)
}

// nearest returns the one of names that is at most two edits from name, "" if none is.
func nearest(name string, names []string) string {
	best, bestEdits := "", 3
	for _, n := range names {
		if e := edits(name, n); e < bestEdits && e < len(n) {
			best, bestEdits = n, e
		}
	}
	return best
}

// edits returns how many letters must be inserted, removed or changed to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal
			} else {
				row[j+1] = 1 + min(diagonal, above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}
