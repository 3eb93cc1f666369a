package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout  = 10 * time.Second
	readyTimeout = time.Minute
	probePause   = 20 * time.Millisecond
	startTries   = 5
	portTimeout  = 30 * time.Second
	respawnPause = 200 * time.Millisecond
)

// errStopped is what a process that was never started or has ended answers.
var errStopped = errors.New("not running")

// Command says how to run a program.
type Command struct {
	// Name names the process and its log file, logs/Name.log. It is unique in the bed.
	Name string
	// Path is the program.
	Path string
	Args []string
	// Env is added to an environment of PATH, TMPDIR and HOME, which is the bed's
	// folder. Nothing else is inherited.
	Env []string
	// Dir is the working directory, the bed's folder if empty.
	Dir string
	// Disk, if any, is a file system that the program alone sees.
	Disk *Disk
	// Ready is polled until it returns nil; nil means ready at once.
	Ready func(ctx context.Context) error
	// Respawn starts the program again when it ends by itself, as a kubelet does.
	Respawn bool
	// ReadyTimeout bounds the wait, one minute if zero.
	ReadyTimeout time.Duration
}

// Process is a program in a process group of its own. It may be stopped and
// started again; its methods may be called concurrently.
type Process struct {
	bed     *Bed
	command Command
	log     string

	mu  sync.Mutex
	run *run
	// down is set when the process was stopped on purpose.
	down bool
}

// Start runs a program in the bed and waits until it is ready. The error of a
// failed start carries the tail of its log. The program does not end with ctx,
// which bounds only the start.
func (b *Bed) Start(ctx context.Context, c Command) (*Process, error) {
	return b.startOnPorts(ctx, c.Name, 0, func([]int) Command { return c })
}

// startOnPorts starts a program that listens on n ports, which may be taken by
// another program between their choice and the start: then others are tried.
func (b *Bed) startOnPorts(ctx context.Context, name string, n int, command func(ports []int) Command) (*Process, error) {
	if err := b.claim(name); err != nil {
		return nil, err
	}
	p := &Process{bed: b, log: filepath.Join(b.dir, "logs", name+".log")}
	for try := 1; ; try++ {
		ports, err := freePorts(n)
		if err != nil {
			b.release(name)
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		p.command = command(ports)
		p.command.Name = name
		p.command.Ready = p.onOwnPorts(p.command.Ready, ports)
		err = p.startOnce(ctx)
		if err == nil {
			return p, b.adopt(p)
		}
		if try == startTries || n == 0 || !p.portTaken() {
			b.release(name)
			return nil, err
		}
	}
}

// Name is the name given by the command.
func (p *Process) Name() string { return p.command.Name }

// Log is the path of the log file; a restart appends to it.
func (p *Process) Log() string { return p.log }

// PID is the program's process id, 0 if it does not run.
func (p *Process) PID() int {
	if r := p.running(); r != nil {
		return r.cmd.Process.Pid
	}
	return 0
}

// Start starts a stopped process again with the same command line, on the same
// ports, and waits until it is ready. Another program may have taken a port
// meanwhile: then it is tried again for a while.
func (p *Process) Start(ctx context.Context) error {
	for end := time.Now().Add(portTimeout); ; {
		err := p.startOnce(ctx)
		if err == nil || !p.portTaken() || time.Now().After(end) {
			return err
		}
		time.Sleep(respawnPause)
	}
}

func (p *Process) startOnce(ctx context.Context) error {
	r, err := p.begin()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.command.Name, err)
	}
	if err := p.awaitReady(ctx, r); err != nil {
		p.stopped()
		r.kill()
		return err
	}
	return nil
}

func (p *Process) begin() (*run, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil && !p.run.ended() {
		return nil, errors.New("it runs already")
	}
	return p.beginLocked()
}

func (p *Process) beginLocked() (*run, error) {
	r, err := begin(p.bed, p.command, p.log)
	if err != nil {
		return nil, err
	}
	p.run, p.down = r, false
	if p.command.Respawn {
		go p.respawn(r)
	}
	return r, nil
}

// respawn begins the program again after the end of a run that nobody asked for.
func (p *Process) respawn(r *run) {
	<-r.done
	time.Sleep(respawnPause)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down && p.run == r {
		_, _ = p.beginLocked() // Whoever waits for the program sees in its log that it is gone.
	}
}

// Restart is Stop, if it runs, and Start.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return p.Start(ctx)
}

// Stop sends SIGTERM, and SIGKILL to the whole group when the program ended or
// did not end within ten seconds. A program that is not running is an error,
// since it should have been.
func (p *Process) Stop() error {
	r := p.stopped()
	if r == nil {
		return fmt.Errorf("stop %s: %w", p.command.Name, errStopped)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.command.Name, err)
	}
	select {
	case <-r.done:
	case <-time.After(stopTimeout):
		r.kill()
	}
	return nil
}

// Kill sends SIGKILL to the whole group and waits for its end. A program that is
// not running is no error.
func (p *Process) Kill() error {
	if r := p.stopped(); r != nil {
		r.kill()
	}
	return nil
}

// Signal sends a signal to the program alone, such as SIGSTOP to make it hang.
func (p *Process) Signal(s syscall.Signal) error {
	r := p.running()
	if r == nil {
		return fmt.Errorf("signal %s: %w", p.command.Name, errStopped)
	}
	return r.cmd.Process.Signal(s)
}

// Wait waits for the program's end.
func (p *Process) Wait(ctx context.Context) error {
	r := p.running()
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", p.command.Name, ctx.Err())
	}
}

// stopped is running for those who end the process on purpose.
func (p *Process) stopped() *run {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	return p.running()
}

func (p *Process) running() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil || p.run.ended() {
		return nil
	}
	return p.run
}

// awaitReady polls the probe until it is content, the program ended, or time is up.
func (p *Process) awaitReady(ctx context.Context, r *run) error {
	if p.command.Ready == nil {
		return nil
	}
	timeout := p.command.ReadyTimeout
	if timeout == 0 {
		timeout = readyTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := p.command.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return p.startError(r, fmt.Errorf("it ended with %q", r.state()))
		case <-ctx.Done():
			return p.startError(r, fmt.Errorf("not ready after %s: %w", timeout, err))
		case <-time.After(probePause):
		}
	}
}

func (p *Process) startError(r *run, reason error) error {
	return fmt.Errorf("start %s: %w; its log %s ends with\n%s",
		p.command.Name, reason, p.log, lastLines(readFrom(p.log, r.offset), tailLines))
}

// portTaken says whether the last run failed because a port was in use.
func (p *Process) portTaken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run != nil && strings.Contains(strings.ToLower(readFrom(p.log, p.run.offset)), "address already in use")
}
