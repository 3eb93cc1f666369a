package testbed

import (
	"os"
	"syscall"
)

// attributes give the process mounts of its own, which end with it. Root may
// have that as it is; another user becomes the root of a user namespace first.
func (d *Disk) attributes(a *syscall.SysProcAttr) {
	if d == nil {
		return
	}
	a.Unshareflags = syscall.CLONE_NEWNS
	if os.Geteuid() == 0 {
		return
	}
	a.Cloneflags = syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
}
