package testbed

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// run is one run of a program, from its start to its end.
type run struct {
	cmd   *exec.Cmd
	guard *guard
	// offset is where the run's part of the log begins.
	offset int64
	done   chan struct{}
}

// begin starts the program in the group of a new guard. When the program ends,
// so does all else in the group, such as Velero's plugin processes.
func begin(b *Bed, c Command, log string) (*run, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	offset, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	g, err := newGuard()
	if err != nil {
		return nil, err
	}
	r := &run{cmd: prepare(b, c, out), guard: g, offset: offset, done: make(chan struct{})}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.group()}
	c.Disk.attributes(r.cmd.SysProcAttr)
	if err := r.cmd.Start(); err != nil {
		g.end()
		return nil, err
	}
	go r.reap()
	return r, nil
}

func prepare(b *Bed, c Command, out io.Writer) *exec.Cmd {
	path, args := c.Disk.wrap(c.Path, c.Args)
	cmd := exec.Command(path, args...) //nolint:noctx // a process lives as long as its bed; the guard ends the others
	cmd.Env = append([]string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, c.Env...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = b.dir
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

func (r *run) reap() {
	_ = r.cmd.Wait() // How it ended is in cmd.ProcessState.
	r.guard.end()
	close(r.done)
}

func (r *run) kill() {
	r.guard.signal()
	<-r.done
}

func (r *run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *run) state() string { return r.cmd.ProcessState.String() }

// Tail returns the last lines of the log.
func (p *Process) Tail(lines int) string { return lastLines(readFrom(p.log, 0), lines) }

// readFrom returns the log from an offset on, or why it cannot be read.
func readFrom(file string, offset int64) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text[min(offset, int64(len(text))):])
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
