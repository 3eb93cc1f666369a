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

// endRest ends what a command has left running, such as kubectl port-forward.
func endRest(command *exec.Cmd) {
	if command.Process != nil {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // it may have left nothing
	}
}
