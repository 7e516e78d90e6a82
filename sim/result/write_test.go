package result

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestWriteSweep(t *testing.T) {
	r := filled()
	s := Sweep{Keys: []string{"seed"}, Values: [][]string{{"1"}, {"2"}}, Results: []*Result{r, r}}
	var b bytes.Buffer
	if err := WriteSweep(&b, s); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema string
		Keys   []string
		Runs   []struct {
			Values []string
			Result json.RawMessage
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != SweepSchema || !reflect.DeepEqual(got.Keys, s.Keys) || len(got.Runs) != 2 || got.Runs[1].Values[0] != "2" {
		t.Fatalf("WriteSweep() = schema %q, keys %q, %d runs; want %q, %q, 2", got.Schema, got.Keys, len(got.Runs), SweepSchema, s.Keys)
	}
	if one, err := Read(bytes.NewReader(got.Runs[1].Result)); err != nil || !reflect.DeepEqual(one, r) {
		t.Errorf("Read(of run 1) = %+v, %v, want %+v", one, err, r)
	}
	r.Seconds = math.NaN()
	if err := WriteSweep(&b, s); err == nil || !strings.Contains(err.Error(), "run 0: seconds is NaN") {
		t.Errorf("WriteSweep(NaN) = %v, want what is no number", err)
	}
}

func TestWriteComparison(t *testing.T) {
	a, b := two()
	c := Compare(a, b)
	var text bytes.Buffer
	if err := WriteComparison(&text, c); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema  string
		Unlike  []string
		Differs []string
		Rows    []Row
	}
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != ComparisonSchema || !reflect.DeepEqual(got.Rows, c.Rows) || !reflect.DeepEqual(got.Differs, c.Differs) {
		t.Errorf("WriteComparison() = %s, want all of %+v", text.String(), c)
	}
}

func TestWriteRecommendation(t *testing.T) {
	want := Recommendation{Name: "a", Objective: "less <of> it", Seeds: []uint64{2}, Changes: []Change{{"k", "1", "2"}}, Rows: []Row{}, Notes: []string{}}
	var text bytes.Buffer
	if err := WriteRecommendation(&text, &want); err != nil {
		t.Fatal(err)
	}
	var got Recommendation
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want.Schema = RecommendationSchema
	if !reflect.DeepEqual(got, want) || !strings.Contains(text.String(), "<of>") {
		t.Errorf("WriteRecommendation() = %s, want all of %+v", text.String(), want)
	}
}
