package scenario

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

func (k *checker) jobs(s *Scenario) {
	if len(s.Jobs) == 0 {
		k.refuse("jobs", "", "no job; write jobs: [{kind: epochs, dataset: imagenet}]")
	}
	for i, j := range s.Jobs {
		key := fmt.Sprintf("jobs[%d]", i)
		switch {
		case k.given(key + ".name"):
			k.called(key+".name", j.Name)
		case len(j.Name) > maxName:
			k.refuse(key+".name", j.Name, fmt.Sprintf("longer than %d characters, as made of the dataset's name; give the job a name", maxName))
		}
		for n, other := range s.Jobs[:i] {
			if j.Name == other.Name {
				k.refuse(key+".name", j.Name, fmt.Sprintf("is the name of jobs[%d] too; give each its own", n))
			}
		}
		k.reads(key, j, s)
		k.runs(key, j, s)
		if k.kind(key, j) {
			k.ofKind(key, j)
		}
	}
}

// reads checks that there is what a job reads.
func (k *checker) reads(key string, j Job, s *Scenario) {
	var names []string
	for _, d := range s.Datasets {
		names = append(names, d.Name)
	}
	switch {
	case j.Dataset == "" && j.Kind == Trace:
	case j.Dataset == "":
		k.refuse(key+".dataset", "", "required; name one of datasets")
	case len(names) == 0:
		k.refuse(key+".dataset", j.Dataset, "no such dataset; write it under datasets")
	case !slices.Contains(names, j.Dataset):
		k.refuse(key+".dataset", j.Dataset, "no such dataset; there are "+strings.Join(names, ", "))
	}
}

// runs checks where, when and how fast a job runs.
func (k *checker) runs(key string, j Job, s *Scenario) {
	k.inFleet(key+".nodes", j.Nodes, s.Fleet.Nodes)
	between(k, key+".ranks", j.Ranks, 1, 256)
	between(k, key+".start", j.Start, 0, maxTime)
	if s.Duration > 0 && j.Start >= s.Duration {
		k.refuse(key+".start", text(j.Start), "not before duration is over, so that it never runs; give less than "+text(s.Duration))
	}
	between(k, key+".jitter", j.Jitter, 0, maxTime)
	if j.Rate <= 0 || j.Rate > maxPerTime {
		k.refuse(key+".rate", text(j.Rate), "out of limits; give more than 0, to 1e+09")
	}
	between(k, key+".prefetch", j.Prefetch, 0, 1024)
	between(k, key+".step", j.Step, 0, maxPerTime)
}

// kind refuses a kind that there is not, and keys that other kinds have. It reports whether the
// kind is known.
func (k *checker) kind(key string, j Job) bool {
	var words []string
	for _, kind := range kinds() {
		words = append(words, string(kind))
	}
	k.oneOf(key+".kind", string(j.Kind), words...)
	if k.refused(key + ".kind") {
		return false
	}
	for _, name := range namesOf(reflect.TypeFor[Job]()) {
		if value, given := k.values[key+"."+name]; given && !j.has(name) {
			var with []string
			for _, kind := range kindsWith(name) {
				with = append(with, string(kind))
			}
			k.refuse(key+"."+name, value, fmt.Sprintf("only jobs of kind %s have it; remove it", strings.Join(with, " and ")))
		}
	}
	return true
}

// ofKind checks the fields that only some kinds have.
func (k *checker) ofKind(key string, j Job) {
	switch j.Kind {
	case Epochs, Windows:
		between(k, key+".epochs", j.Epochs, 1, 100_000)
		if !k.refused(key + ".epochs") {
			between(k, key+".warmup_epochs", j.WarmupEpochs, 0, j.Epochs)
		}
		if j.Kind == Windows {
			between(k, key+".window", j.Window, 1, 4096)
		}
	case Stream, Write:
		between(k, key+".versions", j.Versions, 1, maxVersions)
		if j.Versions > 1 {
			k.period(key+".every", j.Every, "the time between two versions")
		}
		between(k, key+".every", j.Every, 0, maxTime)
	case Zipf:
		if !k.given(key + ".reads") {
			k.refuse(key+".reads", "", "required; say how many reads each rank makes")
		}
		between(k, key+".reads", j.Reads, 1, maxReads)
		between(k, key+".skew", j.Skew, 0, 3)
		between(k, key+".drift", j.Drift, 0, maxPerTime)
	case Trace:
		if j.Trace == "" {
			k.refuse(key+".trace", "", "required; name the file to replay")
		}
		k.oneLine(key+".trace", j.Trace)
		k.oneLine(key+".format", j.Format)
	}
}

// period refuses a time that is missing or not above 0.
func (k *checker) period(key string, d time.Duration, what string) {
	if !k.given(key) {
		k.refuse(key, "", fmt.Sprintf("required; say %s, like 10m", what))
	}
	if d <= 0 || d > maxTime {
		k.refuse(key, text(d), "out of limits; give more than 0s, to 8760h")
	}
}

// expect refuses expectations on jobs and datasets that there are not. Whether a Result has the
// metric is known to package result alone.
func (k *checker) expect(s *Scenario) {
	traced := slices.ContainsFunc(s.Jobs, func(j Job) bool { return j.Kind == Trace })
	for i, e := range s.Expect {
		key := fmt.Sprintf("expect[%d]", i)
		if e.Op == "" {
			k.refuse(key, "", "no expectation; write it as ufs.share < 0.01")
		}
		for _, list := range []string{"jobs", "datasets"} {
			rest, ok := strings.CutPrefix(e.Metric, list+".")
			if !ok || (traced && list == "datasets") { // a trace brings datasets of its own
				continue
			}
			names := namesIn(s, list)
			if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(rest, name+".") }) {
				k.refuse(key, e.String(), fmt.Sprintf("names none of %s; there are %s", list, strings.Join(names, ", ")))
			}
		}
	}
}
