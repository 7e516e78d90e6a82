package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// fromSetting is the line of what does not stand in the file, but in a Setting.
const fromSetting = -1

// A violation is one thing wrong with a document.
type violation struct {
	line int    // 0: of the document as a whole; fromSetting
	key  string // "" when no key is known
	text string // the rest of the line
}

// err joins the violations in the order of their lines; nil if there are none.
func (d *document) err() error {
	slices.SortStableFunc(d.violations, func(a, b violation) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, v := range d.violations {
		place := d.name
		switch {
		case v.line == fromSetting:
			place = "--set"
		case v.line > 0:
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
		return v.key == "" || under(key, v.key)
	})
}

// under reports whether key is the key outer or a part of it.
func under(key, outer string) bool {
	rest, ok := strings.CutPrefix(key, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// refuse reports that key cannot have value. A key is reported once, by the first thing found
// wrong with it or with what it is a part of.
func (d *document) refuse(key, value, cause string) {
	if d.refused(key) {
		return
	}
	d.violations = append(d.violations, violation{d.lineOf(key), key, fmt.Sprintf("%q: %s", value, cause)})
}

// refuseLine reports a violation for which the whole line is shown.
func (d *document) refuseLine(line int, key, cause string) {
	if line > 0 && line <= len(d.text) {
		text := []rune(strings.TrimSpace(d.text[line-1]))
		if len(text) > 100 {
			text = append(text[:100], []rune("...")...)
		}
		cause += "; in the line: " + string(text)
	}
	d.violations = append(d.violations, violation{line, key, cause})
}

// refuseUnknown reports a field that key has not, with the one that may be meant.
func (d *document) refuseUnknown(line int, key, name string, names []string) {
	cause := "unknown key; remove it, the keys here are " + strings.Join(names, ", ")
	if near := Nearest(name, names); len(near) > 0 && edits(name, near[0]) <= 2 {
		cause = fmt.Sprintf("unknown key; did you mean %q?", near[0])
	}
	d.refuseLine(line, join(key, name), cause)
}

// lineOf returns the line of key, or of the nearest thing around it that the document has, or 0.
func (d *document) lineOf(key string) int {
	for key != "" {
		if n, ok := d.lines[key]; ok {
			return n
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// Nearest returns names with those first that are most like name.
func Nearest(name string, names []string) []string {
	near := slices.Clone(names)
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(edits(name, a), edits(name, b)) })
	return near
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
