package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A document is one YAML file while it is decoded: where each key stands in it, and
// what is wrong with it. Decoding goes on after a violation, so that all are found.
type document struct {
	name       string
	text       []string // its lines
	data       []byte
	getenv     func(string) (string, bool)
	lines      map[string]int // key, like "cache[0].size", to line number, from 1
	violations []violation
}

func newDocument(name string, data []byte, getenv func(string) (string, bool)) *document {
	return &document{
		name: name, data: data, getenv: getenv,
		text:  strings.Split(string(data), "\n"),
		lines: make(map[string]int),
	}
}

// decode fills cfg from the document. What is not in the document is left as it is. It
// reports whether the document is YAML at all, of one mapping.
func (d *document) decode(cfg *Config) bool {
	file, err := parser.ParseBytes(d.data, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			d.refuseLine(syntax.GetToken().Position.Line, "", "not YAML: "+syntax.GetMessage())
		} else {
			d.refuseLine(0, "", "not YAML: "+err.Error())
		}
		return false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) > 1 {
		d.refuseLine(line(bodies[1]), "", "a second document after ---; a config file holds one")
	}
	if len(bodies) > 0 {
		d.value(bodies[0], reflect.ValueOf(cfg).Elem(), "")
	}
	return !d.refused("")
}

// value decodes node into v, which key names.
func (d *document) value(node ast.Node, v reflect.Value, key string) {
	d.lines[key] = line(node)
	switch n := node.(type) {
	case *ast.NullNode:
		return // "key:" with nothing after it means the default
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.refuseLine(line(n), key, "anchors, aliases and tags are not read; write the value out")
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(node, v, key)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(node, v, key)
	case reflect.Slice:
		d.sequence(node, v, key)
	default:
		d.scalar(node, v, key)
	}
}

// mapping decodes node into the struct v.
func (d *document) mapping(node ast.Node, v reflect.Value, key string) {
	n, ok := node.(*ast.MappingNode)
	if !ok {
		d.refuseLine(line(node), key, "not a mapping; write its fields as name: value")
		return
	}
	fields := fieldsOf(v)
	for _, pair := range n.Values {
		name := pair.Key.String()
		if s, ok := pair.Key.(*ast.StringNode); ok {
			name = s.Value
		}
		field, ok := fields[name]
		if !ok {
			d.refuseUnknown(line(pair.Key), key, name, fields)
			continue
		}
		d.value(pair.Value, field, join(key, name))
		d.lines[join(key, name)] = line(pair.Key)
	}
}

// sequence decodes node into the slice v, each new element from its defaults.
func (d *document) sequence(node ast.Node, v reflect.Value, key string) {
	n, ok := node.(*ast.SequenceNode)
	if !ok {
		d.refuseLine(line(node), key, "not a list; write its elements on lines that begin with - or in [ ]")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Values), len(n.Values))
	for i, element := range n.Values {
		e := list.Index(i)
		if withDefaults, ok := e.Addr().Interface().(interface{ setDefaults() }); ok {
			withDefaults.setDefaults()
		}
		d.value(element, e, fmt.Sprintf("%s[%d]", key, i))
	}
	if len(n.Values) > 0 {
		v.Set(list)
	}
}

// scalar decodes node into v, which is neither a struct nor a slice.
func (d *document) scalar(node ast.Node, v reflect.Value, key string) {
	text, ok := scalarText(node)
	if !ok {
		d.refuseLine(line(node), key, "not a single value; write one word or number")
		return
	}
	text, err := expand(text, d.getenv)
	if err == nil {
		err = setScalar(v, text)
	}
	if err != nil {
		d.refuse(key, text, err.Error())
	}
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
	case *string:
		*p = text
	case *bool:
		if text != "true" && text != "false" {
			return errors.New("neither true nor false")
		}
		*p = text == "true"
	case *int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("not a whole number")
		}
		*p = n
	case *float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("not a number")
		}
		*p = x
	default:
		panic(fmt.Sprintf("config: no decoding into %T", p))
	}
	return nil
}

// fieldsOf returns the fields of the struct v by their names in YAML.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	return fields
}

// join returns the key of the field name of the struct that key names.
func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// line returns the line node begins at, 0 if it has none.
func line(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}
