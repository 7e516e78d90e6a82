package meshtest

import (
	"fmt"
	"os"
	"time"
)

// sampleLimit bounds one side of one round: whoever serves it is killed then, and those
// who read from it get ENOTCONN.
const sampleLimit = 10 * time.Minute

// guard kills a daemon after sampleLimit, unless it is released before.
func guard(daemon *process) (release func()) {
	if daemon == nil {
		return func() {}
	}
	t := time.AfterFunc(sampleLimit, func() {
		program := daemon.cmd.Args[2] // after nsenter and its option
		fmt.Fprintf(os.Stderr, "%s: killed, a sample took more than %v\n", program, sampleLimit)
		_ = daemon.cmd.Process.Kill() // it may have ended
	})
	return func() { t.Stop() }
}
