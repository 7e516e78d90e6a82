package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// A grid is a table of texts: the first column is aligned left, the others right.
type grid struct {
	Title string
	Head  []string // of the columns after the first
	Rows  [][]string
	Note  string // below it
}

// longest is how many characters of a cell are shown, but for the first of a row.
const longest = 16

// shortest is how many characters of the first cell are shown at least.
const shortest = 12

// gap is what is between two columns.
const gap = "  "

// print writes g as lines of at most width characters: the first column is cut to fit, and if
// that is not enough, the last ones are left out.
func (g grid) print(w io.Writer, width int) {
	g = g.fit(width)
	wide := g.widths()
	rest := 0
	for _, n := range wide[1:] {
		rest += n + len(gap)
	}
	wide[0] = min(wide[0], max(width-rest, shortest))
	line(w, wide, append([]string{g.Title}, g.Head...))
	for _, row := range g.Rows {
		line(w, wide, append([]string{gap + row[0]}, row[1:]...))
	}
	if g.Note != "" {
		wrap(w, width, gap, g.Note)
	}
}

// widths returns how wide each column is at least.
func (g grid) widths() []int {
	wide := []int{length(g.Title)}
	for _, h := range g.Head {
		wide = append(wide, min(length(h), longest))
	}
	for _, row := range g.Rows {
		for i, cell := range row {
			n := min(length(cell), longest)
			if i == 0 {
				n = len(gap) + length(cell)
			}
			wide[i] = max(wide[i], n)
		}
	}
	return wide
}

// line writes one row.
func line(w io.Writer, wide []int, cells []string) {
	var b strings.Builder
	for i, cell := range cells {
		cell = plain(cell)
		if i == 0 {
			b.WriteString(left(middle(cell, wide[0]), wide[0]))
			continue
		}
		b.WriteString(gap + right(cut(cell, wide[i]), wide[i]))
	}
	fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
}

// fit returns g without the last columns that width has no room for, and says so in its note.
func (g grid) fit(width int) grid {
	var out []string
	g.Rows = slices.Clone(g.Rows)
	for len(g.Head) > 1 && g.width() > width {
		last := len(g.Head) - 1
		out = append([]string{g.Head[last]}, out...)
		g.Head = g.Head[:last]
		for i := range g.Rows {
			g.Rows[i] = g.Rows[i][:last+1]
		}
	}
	if len(out) > 0 {
		g.Note = strings.TrimSpace(g.Note + " No room for: " + strings.Join(out, ", ") + ".")
	}
	return g
}

// width returns how wide g is at least.
func (g grid) width() int {
	wide := g.widths()
	n := min(wide[0], shortest)
	for _, w := range wide[1:] {
		n += len(gap) + w
	}
	return n
}

// pairs writes names and their numbers under title, two or three to a line of width
// characters.
func pairs(w io.Writer, width int, title string, all [][2]string) {
	columns := 3
	if width < usual {
		columns = 2
	}
	n := (width - (columns-1)*len(gap)) / columns
	fmt.Fprintf(w, "\n%s\n", title)
	for i := 0; i < len(all); i += columns {
		var cells []string
		for _, p := range all[i:min(i+columns, len(all))] {
			cells = append(cells, gap+left(p[0], n-len(gap)-length(p[1])-1)+" "+p[1])
		}
		fmt.Fprintln(w, strings.Join(cells, gap))
	}
}

// bar returns a bar of f, 0 to 1, of width characters at most.
func bar(f float64, width int) string {
	if !(f > 0) {
		return ""
	}
	eighths := max(int(math.Round(min(f, 1)*float64(width)*8)), 1)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

// wrap writes text in lines of at most width characters that begin with indent.
func wrap(w io.Writer, width int, indent, text string) {
	line := ""
	for _, word := range strings.Fields(plain(text)) {
		word = cut(word, width-length(indent))
		if line != "" && length(indent)+length(line)+1+length(word) > width {
			fmt.Fprintln(w, indent+line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		fmt.Fprintln(w, indent+line)
	}
}

// left returns s in a field of n characters, cut if it is longer.
func left(s string, n int) string {
	s = cut(s, n)
	return s + strings.Repeat(" ", max(n-length(s), 0))
}

// right returns s at the right of a field of n characters.
func right(s string, n int) string {
	return strings.Repeat(" ", max(n-length(s), 0)) + s
}

// cut returns at most n characters of s.
func cut(s string, n int) string {
	if length(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n-1, 0)]) + "…"
}

// middle returns at most n characters of s, its beginning and its end.
func middle(s string, n int) string {
	if length(s) <= n {
		return s
	}
	r := []rune(s)
	end := (n - 1) / 2
	return string(r[:n-1-end]) + "…" + string(r[len(r)-end:])
}

func length(s string) int { return utf8.RuneCountInString(s) }
