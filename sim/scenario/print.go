package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Effective returns s as the YAML of a scenario file, every key with its value in use. Parse
// makes the same Scenario of it; the error is Parse's, of a Scenario that it did not make.
func Effective(s *Scenario) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# The scenario in use, with its defaults.\n")
	for _, p := range mappingTree(reflect.ValueOf(s).Elem(), s) {
		printPair(&out, p, "")
	}
	if _, err := Parse("effective", out.Bytes()); err != nil {
		return nil, fmt.Errorf("scenario: print: %w", err)
	}
	return out.Bytes(), nil
}

// Hash returns 16 hexadecimal digits of the SHA-256 of all that s says, defaults, seed and
// expectations among them, but for its name and what it is about. Two scenarios of the same hash
// give the same report. What is in the files of traces is not in the hash, only their names.
func Hash(s *Scenario) string {
	bare := *s
	bare.Name, bare.About = "", ""
	sum := sha256.New()
	flatten(sum, "", tree(reflect.ValueOf(&bare).Elem(), &bare))
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// A mapping is names and what they stand for, in order.
type mapping []pair

// A pair is one name of a mapping, and a mapping, a list ([]any) or a scalar.
type pair struct {
	key   string
	value any
}

// printPair writes p as YAML, its lines after the first indented by indent.
func printPair(out *bytes.Buffer, p pair, indent string) {
	fmt.Fprintf(out, "%s:", p.key)
	inner := indent + "  "
	switch n := p.value.(type) {
	case mapping:
		out.WriteByte('\n')
		for _, next := range n {
			out.WriteString(inner)
			printPair(out, next, inner)
		}
	case []any:
		printList(out, n, inner)
	default:
		fmt.Fprintf(out, " %s\n", quoted(text(n)))
	}
}

// printList writes what follows the name of a list: an element on each line, or its first pair.
func printList(out *bytes.Buffer, list []any, indent string) {
	if len(list) == 0 {
		out.WriteString(" []\n")
		return
	}
	out.WriteByte('\n')
	for _, element := range list {
		fmt.Fprintf(out, "%s- ", indent)
		m, ok := element.(mapping)
		if !ok {
			fmt.Fprintln(out, quoted(text(element)))
			continue
		}
		for i, p := range m {
			if i > 0 {
				out.WriteString(indent + "  ")
			}
			printPair(out, p, indent+"  ")
		}
	}
}

// quoted returns the scalar s as YAML: in quotes, unless nothing in it could have a meaning.
func quoted(s string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	plain := s != "" && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"._-/+%,<>=! ") == "" &&
		!strings.HasSuffix(s, " ") && !strings.EqualFold(s, "null")
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// flatten writes a line for each scalar in node, with the key it has.
func flatten(w io.Writer, key string, node any) {
	switch n := node.(type) {
	case mapping:
		for _, item := range n {
			flatten(w, join(key, item.key), item.value)
		}
	case []any:
		for i, element := range n {
			flatten(w, fmt.Sprintf("%s[%d]", key, i), element)
		}
	default:
		_, _ = fmt.Fprintf(w, "%s=%q\n", key, text(n)) // a hash takes everything
	}
}

// tree returns v, a part of s, as what YAML is made of: mappings with their keys in order, lists,
// and scalars, which are texts where they have a form of their own.
func tree(v reflect.Value, s *Scenario) any {
	switch value := v.Interface().(type) {
	case Nodes:
		if len(value) == s.Fleet.Nodes {
			return "all"
		}
		return value.String()
	case time.Duration:
		return text(value)
	case encoding.TextMarshaler:
		return text(value)
	}
	switch v.Kind() {
	case reflect.Struct:
		return mappingTree(v, s)
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i), s)
		}
		return list
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}

// mappingTree returns the struct v, without what does not belong to a job of its kind, or to an
// event of its sort.
func mappingTree(v reflect.Value, s *Scenario) mapping {
	var m mapping
	for i := range v.NumField() {
		name := tagOf(v.Type(), i)
		switch it := v.Interface().(type) {
		case Job:
			if !it.has(name) {
				continue
			}
		case Event:
			if !it.has(name) {
				continue
			}
		}
		m = append(m, pair{name, tree(v.Field(i), s)})
	}
	return m
}

// has reports whether the event e has the key name.
func (e Event) has(name string) bool {
	switch name {
	case "crash":
		return len(e.Crash) > 0
	case "restart", "empty":
		return len(e.Restart) > 0
	case "drain":
		return len(e.Drain) > 0
	case "rolling", "every", "down":
		return len(e.Rolling) > 0
	}
	return true
}
