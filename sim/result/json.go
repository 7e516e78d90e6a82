package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// decimals is how many digits follow the point: microseconds, and millionths of a share. What
// lies below them is noise of the order of additions.
const decimals = 6

// Write writes r as JSON, indented, of schema Schema. The same values give the same bytes.
// Fractions are rounded to six digits after the point; a number that is none is an error.
func Write(w io.Writer, r *Result) error {
	c, err := cleaned(r)
	if err == nil {
		err = encode(w, c)
	}
	if err != nil {
		return fmt.Errorf("write result %q: %w", r.Name, err)
	}
	return nil
}

// A sweepDocument is the form in which a Sweep is written.
type sweepDocument struct {
	Schema string     `json:"schema"`
	Keys   []string   `json:"keys"`
	Runs   []sweepRun `json:"runs"`
}

// A sweepRun is the values of the keys, and what they gave.
type sweepRun struct {
	Values []string `json:"values"`
	Result *Result  `json:"result"`
}

// WriteSweep writes s as JSON, indented, of schema SweepSchema: its runs as Write does.
func WriteSweep(w io.Writer, s Sweep) error {
	doc := sweepDocument{Schema: SweepSchema, Keys: append([]string{}, s.Keys...), Runs: []sweepRun{}}
	for i, r := range s.Results {
		c, err := cleaned(r)
		if err != nil {
			return fmt.Errorf("write sweep: run %d: %w", i, err)
		}
		run := sweepRun{Values: []string{}, Result: c}
		for k := range s.Keys {
			run.Values = append(run.Values, s.Value(i, k))
		}
		doc.Runs = append(doc.Runs, run)
	}
	if err := encode(w, doc); err != nil {
		return fmt.Errorf("write sweep: %w", err)
	}
	return nil
}

// WriteComparison writes c as JSON, indented, of schema ComparisonSchema, without its results.
func WriteComparison(w io.Writer, c Comparison) error {
	doc := struct {
		Schema  string   `json:"schema"`
		Unlike  []string `json:"unlike"`
		Differs []string `json:"differs"`
		Rows    []Row    `json:"rows"`
	}{ComparisonSchema, append([]string{}, c.Unlike...), append([]string{}, c.Differs...), append([]Row{}, c.Rows...)}
	if err := encode(w, doc); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// cleaned returns r as it is written.
func cleaned(r *Result) (*Result, error) {
	c := new(Result)
	err := clean(reflect.ValueOf(c).Elem(), reflect.ValueOf(*r), "")
	c.Schema = Schema
	return c, err
}

// encode writes v as people and programs read it.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Read reads what Write wrote. It refuses other schemas, fields that it does not know and text
// that is damaged, whose line it names.
func Read(r io.Reader) (*Result, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("read result: %w", locate(text, err))
	}
	if head.Schema != Schema {
		return nil, fmt.Errorf("read result: its schema is %q, this version of shoal reads %q", head.Schema, Schema)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	c := new(Result)
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("read result: %w", locate(text, err))
	}
	return c, nil
}

// clean copies src, which lies at path, to dst: floats rounded, lists and maps never nil.
func clean(dst, src reflect.Value, path string) error {
	switch src.Kind() {
	case reflect.Float64:
		f := src.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%s is %v", path, f)
		}
		dst.SetFloat(round(f))
	case reflect.Struct:
		for i := range src.NumField() {
			if err := clean(dst.Field(i), src.Field(i), below(path, src.Type().Field(i))); err != nil {
				return err
			}
		}
	case reflect.Slice:
		dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			if err := clean(dst.Index(i), src.Index(i), path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	case reflect.Map:
		dst.Set(reflect.MakeMap(src.Type()))
		for _, k := range src.MapKeys() {
			dst.SetMapIndex(k, src.MapIndex(k))
		}
	default:
		dst.Set(src)
	}
	return nil
}

// below returns the path of field f of what lies at path, by its JSON names.
func below(path string, f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" || path == "" {
		return path + name
	}
	return path + "." + name
}

// round returns f with as many digits as are written. Multiplying instead would change large
// numbers each time that they are read and written.
func round(f float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', decimals, 64), 64)
	if err != nil {
		return f
	}
	return r + 0 // -0 is 0
}

// locate adds to an error of encoding/json where in text it is.
func locate(text []byte, err error) error {
	var at int64
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &kind):
		at = kind.Offset
	default:
		return err
	}
	before := text[:min(max(at, 0), int64(len(text)))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Errorf("line %d, byte %d: %w", line, at, err)
}
