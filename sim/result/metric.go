package result

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// Lookup returns the number in r that path names. A path is made of the names in the JSON, with
// dots between:
//
//   - evictions.last_lost
//   - jobs.train.stall_seconds: of lists whose elements have names, the element of that name;
//     of the longest, if a name is the beginning of another
//   - intervals[3].alive: of any list, the element of that number, from 0
//   - replicas.histogram.3-4: 0 if nothing was counted there
//
// What total and tiers have needs neither of them: ufs.share is total.tiers.ufs.share,
// warm.ufs.share is warm.tiers.ufs.share, and jobs.train.reads is jobs.train.total.reads. For a
// few there are short names: egress (egress_amplification), lost_last (evictions.last_lost), and of
// a job stall (stall_seconds) and gpu (gpu_utilisation). Without a job, stall is the longest and
// gpu the least of all jobs that computed. What is true is 1, what is false 0.
func Lookup(r *Result, path string) (float64, error) {
	if of, ok := ofJobs(path); ok {
		return of(r.Jobs), nil
	}
	return walk{}.number(reflect.ValueOf(r).Elem(), "", path)
}

// KnownMetric returns an error if no Result has a number at path, whatever the names and how many
// the elements of its lists are. As a name may have dots, KnownExpectations, which knows the
// names, finds more.
func KnownMetric(path string) error {
	return walk{anyElement: true}.known(path)
}

// KnownExpectations returns an error for each expectation of s on what no run of s has: a metric
// that there is not, or a job or a dataset that s has not. It tells so without a run.
func KnownExpectations(s *scenario.Scenario) error {
	w := walk{anyElement: true, names: make(map[string][]string)}
	traced := false
	for _, j := range s.Jobs {
		w.names["jobs"] = append(w.names["jobs"], j.Name)
		traced = traced || j.Kind == scenario.Trace
	}
	for _, d := range s.Datasets {
		if !traced { // a trace brings datasets of its own
			w.names["datasets"] = append(w.names["datasets"], d.Name)
		}
	}
	var errs []error
	for _, e := range s.Expect {
		if err := w.known(e.Metric); err != nil {
			errs = append(errs, fmt.Errorf("result: expect %q: %w", e, err))
		}
	}
	return errors.Join(errs...)
}

// ofJobs returns how the metric path is made of the jobs' own, and whether it is.
func ofJobs(path string) (func([]Job) float64, bool) {
	switch path {
	case "stall":
		return func(jobs []Job) float64 {
			longest := 0.0
			for _, j := range jobs {
				longest = max(longest, j.Stall)
			}
			return longest
		}, true
	case "gpu":
		return func(jobs []Job) float64 {
			var all []float64
			for _, j := range jobs {
				if j.Compute > 0 {
					all = append(all, j.GPU)
				}
			}
			if len(all) == 0 {
				return 0
			}
			return slices.Min(all)
		}, true
	}
	return nil, false
}

// errNoNumber is what a path ends in that names more than one value, or a text.
var errNoNumber = errors.New("not a number")

// A walk follows a path through a Result.
type walk struct {
	anyElement bool                // every list has an element of every name and number
	names      map[string][]string // but for these lists, which have elements of these names
}

// known returns an error if the walk does not come to a number.
func (w walk) known(path string) error {
	if _, ok := ofJobs(path); ok {
		return nil
	}
	_, err := w.number(reflect.ValueOf(&Result{}).Elem(), "", path)
	return err
}

// number returns the number at rest, seen from v, which has the path done.
func (w walk) number(v reflect.Value, done, rest string) (float64, error) {
	if rest == "" {
		return numberOf(v, done)
	}
	switch v.Kind() {
	case reflect.Struct:
		return w.field(v, done, rest)
	case reflect.Slice:
		return w.element(v, done, rest)
	case reflect.Map:
		name, dotted := strings.CutPrefix(rest, ".")
		if !dotted || name == "" {
			break
		}
		if value := v.MapIndex(reflect.ValueOf(name)); value.IsValid() {
			return numberOf(value, done+rest)
		}
		return 0, nil
	}
	return 0, fmt.Errorf("%s: unknown metric: %s has no parts; leave out %q", done+rest, done, rest)
}

// field goes on with the field of the struct v that rest begins with.
func (w walk) field(v reflect.Value, done, rest string) (float64, error) {
	name := strings.TrimPrefix(rest, ".")
	dot := rest[:len(rest)-len(name)]
	if (dot == "") != (done == "") {
		return 0, unknown(done+rest, "", nil)
	}
	if end := strings.IndexAny(name, ".["); end >= 0 {
		name = name[:end]
	}
	rest = rest[len(dot)+len(name):]
	field, ok := fieldNamed(v, unshort(v.Type(), name))
	if !ok {
		return 0, unknown(done+dot+name+rest, name, namesOf(v.Type()))
	}
	return w.number(field, done+dot+name, rest)
}

// element goes on with the element of the list v that rest begins with.
func (w walk) element(v reflect.Value, done, rest string) (float64, error) {
	if number, after, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok && rest[0] == '[' {
		i, err := strconv.Atoi(number)
		switch {
		case err != nil || i < 0:
			return 0, unknown(done+rest, "", nil)
		case w.anyElement:
			return w.number(reflect.New(v.Type().Elem()).Elem(), done, after)
		case i >= v.Len():
			return 0, fmt.Errorf("%s: %s has %d elements; the first is %s[0]", done+rest, done, v.Len(), done)
		}
		return w.number(v.Index(i), fmt.Sprintf("%s[%d]", done, i), after)
	}
	if _, ok := fieldNamed(reflect.New(v.Type().Elem()).Elem(), "name"); !ok || rest[0] != '.' {
		return 0, fmt.Errorf("%s: unknown metric: the elements of %s have no names; write %s[0] for the first", done+rest, done, done)
	}
	names, listed := w.names[done]
	if w.anyElement && !listed {
		return w.anyNamed(v.Type().Elem(), done, rest)
	}
	for i := range v.Len() {
		names = append(names, v.Index(i).FieldByName("Name").String())
	}
	best := -1
	for i, name := range names {
		if strings.HasPrefix(rest, "."+name+".") && (best < 0 || len(name) > len(names[best])) {
			best = i
		}
	}
	if best < 0 {
		return 0, unknown(done+rest, strings.TrimPrefix(rest, "."), names)
	}
	element := reflect.New(v.Type().Elem()).Elem()
	if !w.anyElement {
		element = v.Index(best)
	}
	return w.number(element, done+"."+names[best], rest[1+len(names[best]):])
}

// anyNamed goes on with an element of type t of whatever name rest begins with: names may have
// dots in them, so the end of it is where the path goes on best.
func (w walk) anyNamed(t reflect.Type, done, rest string) (float64, error) {
	var first error
	for end := 1; end < len(rest); end++ {
		if rest[end] != '.' || end == 1 {
			continue
		}
		f, err := w.number(reflect.New(t).Elem(), done+rest[:end], rest[end:])
		if err == nil {
			return f, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = unknown(done+rest, "", namesOf(t))
	}
	return 0, first
}

// numberOf returns the number that v, at path, is.
func numberOf(v reflect.Value, path string) (float64, error) {
	switch {
	case v.CanInt():
		return float64(v.Int()), nil
	case v.CanUint():
		return float64(v.Uint()), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.Kind() == reflect.Bool && v.Bool():
		return 1, nil
	case v.Kind() == reflect.Bool:
		return 0, nil
	case v.Kind() == reflect.Struct:
		return 0, fmt.Errorf("%s: %w; go on with one of %s", path, errNoNumber, strings.Join(namesOf(v.Type()), ", "))
	}
	return 0, fmt.Errorf("%s: %w", path, errNoNumber)
}

// unknown is the error of path, in which name is none of names.
func unknown(path, name string, names []string) error {
	near := scenario.Nearest(name, names)
	if len(near) == 0 {
		return fmt.Errorf("%s: unknown metric", path)
	}
	return fmt.Errorf("%s: unknown metric: there is no %q; the nearest are %s", path, name, strings.Join(near[:min(5, len(near))], ", "))
}

// unshort returns the name in the JSON of the field of t that name is short for, or name.
func unshort(t reflect.Type, name string) string {
	switch {
	case name == "egress":
		return "egress_amplification"
	case t == reflect.TypeFor[Job]() && name == "stall":
		return "stall_seconds"
	case t == reflect.TypeFor[Job]() && name == "gpu":
		return "gpu_utilisation"
	}
	return name
}

// fieldNamed returns the field of the struct v that has the name in JSON, or else of what v has
// by the way: an embedded struct, its total, its tiers. The one of evictions that people ask for
// is lost_last.
func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if nameOf(v.Type(), i) == name {
			return v.Field(i), true
		}
	}
	if v.Type() == reflect.TypeFor[Result]() && name == "lost_last" {
		return v.FieldByName("Evictions").FieldByName("LastLost"), true
	}
	for i := range v.NumField() {
		if byTheWay(v.Type(), i) {
			if field, ok := fieldNamed(v.Field(i), name); ok {
				return field, true
			}
		}
	}
	return reflect.Value{}, false
}

// namesOf returns the names by which fieldNamed finds a field in the struct t.
func namesOf(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := nameOf(t, i); name != "" {
			names = append(names, name)
		}
	}
	for i := range t.NumField() {
		if byTheWay(t, i) {
			names = append(names, namesOf(t.Field(i).Type)...)
		}
	}
	return names
}

// nameOf returns the name in JSON of the i-th field of the struct t, "" if it is embedded.
func nameOf(t reflect.Type, i int) string {
	name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
	return name
}

// byTheWay reports whether paths may leave out the i-th field of the struct t.
func byTheWay(t reflect.Type, i int) bool {
	name := nameOf(t, i)
	return name == "" || name == "total" || name == "tiers"
}
