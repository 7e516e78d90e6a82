package scenario

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is how long a scenario file may be. The longest list of events fits.
const maxFile = 1 << 20

// A document is one scenario file while it is decoded: where each key stands in it, and what is
// wrong with it. Decoding goes on after a violation, so that all are found.
type document struct {
	name       string
	text       []string // its lines
	data       []byte
	lines      map[string]int    // key, like "jobs[0].kind", to line number, from 1, or fromSetting
	values     map[string]string // key of a scalar that is given, to its text
	setting    bool              // what is decoded is a Setting, and no part of the file
	violations []violation
}

func newDocument(name string, data []byte) *document {
	return &document{
		name: name, data: data,
		text:   strings.Split(string(data), "\n"),
		lines:  make(map[string]int),
		values: make(map[string]string),
	}
}

// decode fills s from the document. What is not in the document is left as it is. It reports
// whether the document is YAML at all, of one mapping.
func (d *document) decode(s *Scenario) bool {
	switch {
	case len(d.data) > maxFile:
		d.refuseLine(0, "", fmt.Sprintf("longer than %d bytes; split it into several scenarios", maxFile))
		return false
	case !utf8.Valid(d.data):
		d.refuseLine(0, "", "not UTF-8; save it as UTF-8")
		return false
	}
	body, ok := d.parse(d.data, "")
	if ok && body != nil {
		d.value(body, reflect.ValueOf(s).Elem(), "")
	}
	return !d.refused("")
}

// parse returns the one node that the YAML text of key is, nil if it is empty, and whether it is
// YAML.
func (d *document) parse(text []byte, key string) (ast.Node, bool) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		at, message := 0, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			at, message = syntax.GetToken().Position.Line, syntax.GetMessage()
		}
		if d.setting {
			at = fromSetting
		}
		d.refuseLine(at, key, "not YAML: "+message)
		return nil, false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, true
	case 1:
		return bodies[0], true
	}
	d.refuseLine(d.line(bodies[1]), key, "a second document after ---; a scenario file holds one")
	return nil, false
}

// value decodes node into v, which key names.
func (d *document) value(node ast.Node, v reflect.Value, key string) {
	d.lines[key] = d.line(node)
	switch n := node.(type) {
	case *ast.NullNode:
		return // "key:" with nothing after it means the default
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.refuseLine(d.line(n), key, "anchors, aliases and tags are not read; write the value out")
		return
	}
	switch {
	case isScalar(v):
		text, ok := scalarText(node)
		if !ok {
			d.refuseLine(d.line(node), key, "not a single value; write one word or number")
			return
		}
		d.scalar(text, v, key)
	case v.Kind() == reflect.Slice:
		d.sequence(node, v, key)
	default:
		d.mapping(node, v, key)
	}
}

// mapping decodes node into the struct v.
func (d *document) mapping(node ast.Node, v reflect.Value, key string) {
	n, ok := node.(*ast.MappingNode)
	if !ok {
		d.refuseLine(d.line(node), key, "not a mapping; write its fields as name: value")
		return
	}
	for _, pair := range n.Values {
		name := pair.Key.String()
		if s, ok := pair.Key.(*ast.StringNode); ok {
			name = s.Value
		}
		field, ok := fieldNamed(v, name)
		if !ok {
			d.refuseUnknown(d.line(pair.Key), key, name, namesOf(v.Type()))
			continue
		}
		d.value(pair.Value, field, join(key, name))
		d.lines[join(key, name)] = d.line(pair.Key)
	}
}

// sequence decodes node into the slice v, each new element from its defaults.
func (d *document) sequence(node ast.Node, v reflect.Value, key string) {
	n, ok := node.(*ast.SequenceNode)
	if !ok {
		d.refuseLine(d.line(node), key, "not a list; write its elements on lines that begin with - or in [ ]")
		return
	}
	for i, element := range n.Values {
		e := reflect.New(v.Type().Elem())
		if withDefaults, ok := e.Interface().(interface{ setDefaults() }); ok {
			withDefaults.setDefaults()
		}
		d.value(element, e.Elem(), fmt.Sprintf("%s[%d]", key, i))
		v.Set(reflect.Append(v, e.Elem()))
	}
}

// scalar decodes text into v.
func (d *document) scalar(text string, v reflect.Value, key string) {
	d.values[key] = text
	if err := setScalar(v, text); err != nil {
		d.refuse(key, text, err.Error())
	}
}

// given reports whether key, which is a scalar's, has a value in the file or a setting.
func (d *document) given(key string) bool {
	_, ok := d.values[key]
	return ok
}

// line returns the line node begins at, 0 if it has none.
func (d *document) line(node ast.Node) int {
	if d.setting {
		return fromSetting
	}
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// scalarText returns what a scalar says, as it is written but for its quotes.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// isScalar reports whether v is written as one word or number.
func isScalar(v reflect.Value) bool {
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return true
	}
	return v.Kind() != reflect.Struct && v.Kind() != reflect.Slice
}

// setScalar sets v to what text says.
func setScalar(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *time.Duration:
		duration, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("not a duration; write it as 30s, 1m or 24h")
		}
		*p = duration
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errors.New("neither true nor false")
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("not a whole number")
		}
		v.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errors.New("not a whole number from 0 to 18446744073709551615")
		}
		v.SetUint(n)
	case reflect.Float64:
		f, ok := parseFloat(text)
		if !ok {
			return errors.New("not a number")
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("scenario: no decoding into %v", v.Type()))
	}
	return nil
}

// fieldNamed returns the field of the struct v that has the name in YAML.
func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if tagOf(v.Type(), i) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// namesOf returns the names in YAML of the fields of the struct t.
func namesOf(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = tagOf(t, i)
	}
	return names
}

// tagOf returns the name in YAML of the i-th field of the struct t.
func tagOf(t reflect.Type, i int) string { return t.Field(i).Tag.Get("yaml") }

// join returns the key of the field name of the struct that key names.
func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
