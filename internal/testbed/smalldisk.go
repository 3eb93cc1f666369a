package testbed

import (
	"context"
	"fmt"
	"os/exec"
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

// diskPossible returns nil where a process may have a disk, else what forbids it.
func diskPossible(ctx context.Context, dir string) error {
	d := &Disk{Dir: dir, Size: 1 << 20}
	program, args := d.wrap("/bin/true", nil)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	d.attributes(cmd.SysProcAttr)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("a process cannot have a file system of its own here (it takes root or user namespaces): %w %s", err, out)
	}
	return nil
}
