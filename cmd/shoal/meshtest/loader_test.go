package meshtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// loaderEnv makes the test binary run as one process of a loader.
const loaderEnv = "SHOAL_TEST_LOADER"

// A loader is what a training job reads with: processes that live from epoch to epoch and
// each open, read and close their share of the files.
type loader struct {
	processes []*loaderProcess
	cancel    context.CancelFunc
}

// A loaderProcess is one of them, with the pipes it is told by and answers on.
type loaderProcess struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	tell   *json.Encoder
	answer *json.Decoder
}

// A loadResult is what one process answers after its share of an epoch.
type loadResult struct {
	Bytes int64
	CPU   time.Duration // of the process, for this share
	Error string
}

// loaderMain reads until its standard input ends: a list of names, answered with true once
// it is known, then a word to begin, answered with a loadResult.
func loaderMain() int {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		err := loadShare(in, out)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// loadShare reads one share. Its error is io.EOF when there is none to come.
func loadShare(in *json.Decoder, out *json.Encoder) error {
	var names []string
	if err := in.Decode(&names); err != nil {
		return err
	}
	if err := out.Encode(true); err != nil {
		return err
	}
	var begin bool
	if err := in.Decode(&begin); err != nil {
		return err
	}
	var r loadResult
	var err error
	before := ownCPU()
	if r.Bytes, err = readEach(names); err != nil {
		r.Error = err.Error()
	}
	r.CPU = ownCPU() - before
	return out.Encode(r)
}

// startLoader starts n processes, which are killed after sampleLimit. The caller must stop them.
func startLoader(t testing.TB, n int) *loader {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sampleLimit)
	l := &loader{cancel: cancel}
	for range n {
		p := &loaderProcess{cmd: exec.CommandContext(ctx, self)}
		p.cmd.Env = append(os.Environ(), loaderEnv+"=1")
		p.cmd.Stderr = os.Stderr
		stdin, errIn := p.cmd.StdinPipe()
		stdout, errOut := p.cmd.StdoutPipe()
		if err := errors.Join(errIn, errOut); err != nil {
			l.stop()
			t.Fatal(err)
		}
		p.stdin, p.tell, p.answer = stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)
		if err := p.cmd.Start(); err != nil {
			l.stop()
			t.Fatal(err)
		}
		l.processes = append(l.processes, p)
	}
	return l
}

// stop ends the processes and waits for them.
func (l *loader) stop() {
	for _, p := range l.processes {
		_ = p.stdin.Close() // an end it understands
	}
	l.cancel()
	for _, p := range l.processes {
		_ = p.cmd.Wait() // killed, perhaps
	}
}

// epoch has the processes read the named files below dir, a share each, all at once. It
// returns the bytes, the time from the word to begin to the last answer, and the CPU time
// of the processes.
func (l *loader) epoch(dir string, names []string) (bytes int64, s sample, err error) {
	share := func(i int) (paths []string) {
		for _, name := range names[i*len(names)/len(l.processes) : (i+1)*len(names)/len(l.processes)] {
			paths = append(paths, filepath.Join(dir, name))
		}
		return paths
	}
	err = l.each(func(i int, p *loaderProcess) error {
		var ready bool
		return errors.Join(p.tell.Encode(share(i)), p.answer.Decode(&ready))
	})
	if err != nil {
		return 0, sample{}, err
	}
	results := make([]loadResult, len(l.processes))
	begun := time.Now()
	err = l.each(func(i int, p *loaderProcess) error {
		return errors.Join(p.tell.Encode(true), p.answer.Decode(&results[i]))
	})
	s.took = time.Since(begun)
	for _, r := range results {
		bytes, s.cpu = bytes+r.Bytes, s.cpu+r.CPU
		if r.Error != "" {
			err = errors.Join(err, errors.New(r.Error))
		}
	}
	return bytes, s, err
}

// each does something with all processes at once.
func (l *loader) each(do func(i int, p *loaderProcess) error) error {
	var g errgroup.Group
	for i, p := range l.processes {
		g.Go(func() error {
			if err := do(i, p); err != nil {
				return fmt.Errorf("loader process %d: %w", i, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// TestLoader has eight processes read a directory twice, and a file that is not there.
func TestLoader(t *testing.T) {
	dir, names := t.TempDir(), make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprintf("%02d", i)
		if err := os.WriteFile(filepath.Join(dir, names[i]), make([]byte, 1000+i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := startLoader(t, loaders)
	defer l.stop()
	for epoch := range 2 {
		bytes, s, err := l.epoch(dir, names)
		if err != nil || bytes != 20*1000+190 || s.took <= 0 {
			t.Errorf("epoch %d: %d bytes in %v, %v, want 20190 bytes", epoch, bytes, s.took, err)
		}
	}
	if bytes, _, err := l.epoch(dir, append(names[:19:19], "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("a file that is not there: %d bytes, %v, want an error that names it", bytes, err)
	}
}
