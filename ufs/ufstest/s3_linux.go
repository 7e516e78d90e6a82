package ufstest

import "syscall"

// dieWithParent has the kernel kill a process when the thread that started it ends, so
// that a test that is killed leaves no server behind. A group of its own keeps a
// terminal's interrupt from it while the test still needs it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
