//go:build !windows

package drill

import (
	"os/exec"
	"syscall"
)

// endTogether has the children of a command end with it.
func endTogether(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}
