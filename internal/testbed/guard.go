package testbed

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// guardScript waits for the end of its input and then kills its process group.
const guardScript = `trap "" HUP INT TERM; read line; kill -KILL 0`

// guard leads a process group and kills it when this process is gone, however it
// went: then the kernel closes the pipe that is the guard's input. Since the
// guard is in the group before any other process, and is waited for last, there
// is no moment without it and the group's id is never another's.
type guard struct {
	cmd  *exec.Cmd
	hold io.Closer

	mu    sync.Mutex
	ended bool
}

func newGuard() (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript) //nolint:noctx // it lives as long as its group
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard of a process group: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard of a process group: %w", err)
	}
	return &guard{cmd: cmd, hold: hold}, nil
}

func (g *guard) group() int { return g.cmd.Process.Pid }

// signal kills everything in the group, the guard too.
func (g *guard) signal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = syscall.Kill(-g.group(), syscall.SIGKILL)
	}
}

// end is signal, after which the group's id is given back. The program must have
// been waited for.
func (g *guard) end() {
	g.signal()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = g.cmd.Wait() // It was killed, which is what the error says.
		g.ended = true
	}
}
