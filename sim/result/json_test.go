package result

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
)

// filled returns a result in which every number, text and list has something.
func filled() *Result {
	n := 0
	r := new(Result)
	fill(reflect.ValueOf(r).Elem(), &n)
	r.Schema = Schema
	return r
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]int64{"1": 5, "2": 3, "17-32": 1, "3-4": 2}))
	case reflect.String:
		v.SetString("text <&> \" " + string(rune('a'+*n%26)))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.Set(reflect.ValueOf(*n).Convert(v.Type()))
	}
}

func write(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatalf("Write(%q) = %v, want nil", r.Name, err)
	}
	return b.String()
}

func TestWriteThenRead(t *testing.T) {
	want := filled()
	text := write(t, want)
	got, err := Read(strings.NewReader(text))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("Read(Write(r)) = %+v, %v, want %+v", got, err, want)
	}
	if again := write(t, got); again != text {
		t.Error("Write(Read(text)) differs from text")
	}
}

// TestWriteEmpty checks that lists are lists when there is nothing in them.
func TestWriteEmpty(t *testing.T) {
	text := write(t, &Result{})
	for _, want := range []string{`"schema": "shoal.sim/1"`, `"jobs": []`, `"intervals": []`, `"histogram": {}`} {
		if !strings.Contains(text, want) {
			t.Errorf("Write(empty) = %s, want %s in it", text, want)
		}
	}
	if strings.Contains(text, "null") {
		t.Errorf("Write(empty) = %s, want no null", text)
	}
}

func TestWriteRounds(t *testing.T) {
	tests := []struct {
		f    float64
		want string
	}{
		{1.0 / 3, "0.333333"},
		{2.0 / 3, "0.666667"},
		{0.1 + 0.2, "0.3"},
		{1e-9, "0"},
		{-1e-9, "0"},
		{45, "45"},
		{123456789.123456789, "123456789.123457"},
		{1e15, "1000000000000000"},
	}
	for _, tt := range tests {
		r := &Result{Seconds: tt.f}
		if text := write(t, r); !strings.Contains(text, `"seconds": `+tt.want+",") {
			t.Errorf("Write(seconds: %v) = %s, want %s", tt.f, text, tt.want)
		}
		if r.Seconds != tt.f {
			t.Errorf("Write changed %v to %v, want it left as it is", tt.f, r.Seconds)
		}
	}
}

func TestWriteRefusesWhatIsNoNumber(t *testing.T) {
	nan := filled()
	nan.Jobs[1].Epochs[0].Tiers.UFS.Share = math.NaN()
	inf := filled()
	inf.Intervals[1].Amplification = math.Inf(1)
	for want, r := range map[string]*Result{
		"jobs[1].epochs[0].tiers.ufs.share is NaN":  nan,
		"intervals[1].egress_amplification is +Inf": inf,
	} {
		var b bytes.Buffer
		if err := Write(&b, r); err == nil || !strings.HasSuffix(err.Error(), want) || b.Len() > 0 {
			t.Errorf("Write() = %v after %d bytes, want %s after none", err, b.Len(), want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	text := write(t, filled())
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", "line 1, byte 0: unexpected end of JSON input"},
		{"other schema", strings.Replace(text, Schema, "shoal.sim/2", 1), `its schema is "shoal.sim/2", this version of shoal reads "shoal.sim/1"`},
		{"no schema", "{}", `its schema is ""`},
		{"unknown field", strings.Replace(text, `"about"`, `"above"`, 1), `unknown field "above"`},
		{"unknown field of a job", strings.Replace(text, `"gpu_utilisation"`, `"gpu"`, 1), `unknown field "gpu"`},
		{"wrong kind", strings.Replace(text, `"nodes": `, `"nodes": "many", "zones": `, 1), "line 10, byte"},
		{"too large", strings.Replace(text, `"seconds": `, `"seconds": 1e999, "events": `, 1), "line 13, byte"},
		{"no JSON", "schema: shoal.sim/1", "line 1, byte 1: invalid character 's'"},
		{"two of them", text + "{}", "invalid character '{' after top-level value"},
		{"a list", "[]", "line 1, byte"},
	}
	for _, tt := range tests {
		if r, err := Read(strings.NewReader(tt.text)); err == nil || r != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Read(%s) = %v, %v, want an error with %q", tt.name, r, err, tt.want)
		}
	}
}

// TestReadTruncated cuts a file at every byte: each is refused, and the line is told.
func TestReadTruncated(t *testing.T) {
	text := strings.TrimSpace(write(t, &Result{Jobs: make([]Job, 1), Replicas: Replicas{Histogram: map[string]int64{"1": 2}}}))
	for n := range text {
		_, err := Read(strings.NewReader(text[:n]))
		if err == nil || !strings.Contains(err.Error(), "line ") {
			t.Fatalf("Read(the first %d of %d bytes) = %v, want an error with the line", n, len(text), err)
		}
	}
	_, err := Read(strings.NewReader(text[:len(text)-1]))
	if want := "unexpected end of JSON input"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Read(all but the last byte) = %v, want %s", err, want)
	}
}
