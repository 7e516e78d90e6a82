package scenario

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// set gives a key of s another value, as if the file had it.
func (d *document) set(s *Scenario, one Setting) {
	d.setting = true
	defer func() { d.setting = false }()
	v, key, ok := d.locate(s, one.Key)
	if !ok {
		return
	}
	d.forget(key)
	d.lines[key] = fromSetting
	switch {
	case one.Value == "":
		d.refuse(key, "", "no value; write key=value")
		return
	case !utf8.ValidString(one.Value):
		d.refuse(key, one.Value, "not UTF-8; write it as UTF-8")
		return
	}
	if v.Kind() == reflect.Struct && !isScalar(v) {
		d.refuse(key, one.Value, "not a single value; set one of its keys: "+strings.Join(namesOf(v.Type()), ", "))
		return
	}
	if isScalar(v) {
		d.scalar(one.Value, v, key)
		return
	}
	v.SetZero()
	if node, ok := d.parse([]byte(one.Value), key); ok && node != nil {
		d.value(node, v, key)
	}
}

// forget drops what is known of key and what is a part of it.
func (d *document) forget(key string) {
	maps.DeleteFunc(d.lines, func(k string, _ int) bool { return under(k, key) })
	maps.DeleteFunc(d.values, func(k, _ string) bool { return under(k, key) })
}

// locate returns the value of s that path names, and its key as the file's keys are written.
func (d *document) locate(s *Scenario, path string) (reflect.Value, string, bool) {
	v, key, rest := reflect.ValueOf(s).Elem(), "", path
	if path == "" {
		d.refuseLine(fromSetting, "", "unknown key; give a path, like fleet.nodes")
	}
	for rest != "" {
		var ok bool
		switch {
		case isScalar(v):
			d.refuseLine(fromSetting, path, fmt.Sprintf("unknown key; %s is a single value", key))
			return v, key, false
		case v.Kind() == reflect.Slice:
			v, key, rest, ok = d.locateElement(s, v, key, rest)
		default:
			v, key, rest, ok = d.locateField(v, key, rest)
		}
		if !ok {
			return v, key, false
		}
	}
	return v, key, key != ""
}

// locateField returns the field of the struct v that rest begins with, its key, and what follows.
func (d *document) locateField(v reflect.Value, key, rest string) (reflect.Value, string, string, bool) {
	rest = strings.TrimPrefix(rest, ".")
	name := rest
	if end := strings.IndexAny(rest, ".["); end >= 0 {
		name = rest[:end]
	}
	field, ok := fieldNamed(v, name)
	if !ok {
		d.refuseUnknown(fromSetting, key, name, namesOf(v.Type()))
	}
	return field, join(key, name), rest[len(name):], ok
}

// locateElement returns the element of the list v that rest begins with: its number in brackets,
// or a dot and its name. Of names that are the beginning of one another the longest counts.
func (d *document) locateElement(s *Scenario, v reflect.Value, key, rest string) (reflect.Value, string, string, bool) {
	names := namesIn(s, key)
	index, tail := -1, ""
	if number, after, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok && rest[0] == '[' {
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < v.Len() {
			index, tail = i, after
		}
	}
	for i, name := range names {
		after, ok := strings.CutPrefix(rest, "."+name)
		if ok && name != "" && (after == "" || after[0] == '.') && (index < 0 || len(name) > len(names[index])) {
			index, tail = i, after
		}
	}
	if index >= 0 {
		return v.Index(index), fmt.Sprintf("%s[%d]", key, index), tail, true
	}
	cause := fmt.Sprintf("unknown key; it has %d elements, write %s[0] for the first", v.Len(), key)
	if len(names) > 0 {
		cause += ", or " + key + ". and one of the names " + strings.Join(names, ", ")
	}
	d.refuseLine(fromSetting, key+rest, cause)
	return v, key, rest, false
}

// namesIn returns the names of the elements of the list key, none if they have no names.
func namesIn(s *Scenario, key string) []string {
	switch key {
	case "jobs":
		return jobNames(s)
	case "datasets":
		names := make([]string, len(s.Datasets))
		for i, d := range s.Datasets {
			names[i] = d.Name
		}
		return names
	}
	return nil
}
