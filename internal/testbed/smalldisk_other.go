//go:build !linux

package testbed

import "syscall"

// attributes do nothing here, and the mount fails.
func (d *Disk) attributes(*syscall.SysProcAttr) {}
