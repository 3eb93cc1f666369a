package testbed

import (
	"os"
	"strconv"
	"syscall"
)

// Disk is a file system of its own in memory, which only one process of the bed
// sees. It lives as long as the process does, and a restarted one has it empty.
type Disk struct {
	// Dir is the folder that the file system takes the place of.
	Dir string
	// Size is all that it holds, in bytes.
	Size int64
}

// mountScript makes the file system and becomes the program.
const mountScript = `mount -t tmpfs -o "size=$1" longshore "$2" && shift 2 && exec "$@"`

// wrap returns the command line that runs a program with the disk.
func (d *Disk) wrap(program string, args []string) (string, []string) {
	if d == nil {
		return program, args
	}
	size := strconv.FormatInt(d.Size, 10)
	return "/bin/sh", append([]string{"-c", mountScript, "sh", size, d.Dir, program}, args...)
}

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
