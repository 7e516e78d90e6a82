package main

import (
	"os"
	"runtime"
)

// mostProcessors is the number of CPUs from which on there are enough processors for those that wait.
const mostProcessors = 16

// raiseProcessors has Go run more goroutines at once than there are CPUs, on a small machine. An
// agent is in system calls that wait, for the mount's next request and for the disk, and Go takes a
// processor away from such a call no sooner than its monitor comes by, some 20 to 100 us later:
// with one for each CPU, a CPU idles meanwhile (docs/processors.md).
func raiseProcessors() {
	if n := processors(runtime.NumCPU(), runtime.GOMAXPROCS(0), os.Getenv("GOMAXPROCS")); n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// processors returns how many there should be with this many CPUs, or 0 if that is for Go to say: there
// are enough, or somebody has decided, by the environment or by a cgroup's limit of CPU, which more
// running threads would only use up sooner. (Go rounds a limit up, and to two, so not every one shows.)
func processors(cpus, now int, environment string) int {
	if environment != "" || now < cpus || cpus >= mostProcessors {
		return 0
	}
	return min(2*cpus, mostProcessors)
}
