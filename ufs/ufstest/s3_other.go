//go:build !linux

package ufstest

import "syscall"

// dieWithParent can do nothing for a test that is killed here.
func dieWithParent() *syscall.SysProcAttr { return nil }
