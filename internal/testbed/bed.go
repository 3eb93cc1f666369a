package testbed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Options of a bed.
type Options struct {
	// Dir is the parent of the bed's folder, the system's temporary folder if empty.
	Dir string
	// Keep keeps the folder after Close.
	Keep bool
	// Progress takes the lines of progress when parts must be built; standard
	// error if nil.
	Progress io.Writer
}

// Bed is a temporary folder, the processes that live in it, and their logs.
// Its methods may be called concurrently.
type Bed struct {
	dir      string
	progress io.Writer

	mu        sync.Mutex
	keep      bool
	closed    bool
	names     map[string]bool
	processes []*Process
	outside   []string // files and folders elsewhere that Close removes
}

// New makes a bed. Close ends it.
func New(o Options) (*Bed, error) {
	dir, err := os.MkdirTemp(o.Dir, "longshore-")
	if err != nil {
		return nil, fmt.Errorf("make the testbed's folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("make the testbed's folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, fmt.Errorf("make the testbed's folder: %w", err)
	}
	if o.Progress == nil {
		o.Progress = stderr
	}
	return &Bed{dir: dir, progress: o.Progress, keep: o.Keep, names: map[string]bool{}}, nil
}

// Dir is the bed's folder; logs are in Dir()/logs.
func (b *Bed) Dir() string { return b.dir }

// Keep makes Close leave the folder.
func (b *Bed) Keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep = true
}

// Close kills every process, the youngest first, and removes the folder unless
// it is to be kept. The processes get no time to say goodbye: nothing of what
// they hold is needed any more.
func (b *Bed) Close() error {
	b.mu.Lock()
	b.closed = true
	processes, keep := slices.Clone(b.processes), b.keep
	b.mu.Unlock()

	var errs []error
	for _, p := range slices.Backward(processes) {
		errs = append(errs, p.Kill())
	}
	for _, path := range b.outside {
		errs = append(errs, os.RemoveAll(path))
	}
	if !keep {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// Tails returns the last lines of every log, for a person who looks for the
// reason of a failure.
func (b *Bed) Tails(lines int) string {
	b.mu.Lock()
	processes := slices.Clone(b.processes)
	b.mu.Unlock()
	text := ""
	for _, p := range processes {
		text += fmt.Sprintf("--- %s (%s)\n%s\n", p.Name(), p.Log(), p.Tail(lines))
	}
	return text
}

// claim reserves the name of a process, of which there can be one.
func (b *Bed) claim(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return fmt.Errorf("start %s: the testbed is closed", name)
	case b.names[name]:
		return fmt.Errorf("start %s: the testbed has one of this name already", name)
	}
	b.names[name] = true
	return nil
}

func (b *Bed) release(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.names, name)
}

// adopt makes the bed the owner of a process, which ends at once if the bed was
// closed meanwhile.
func (b *Bed) adopt(p *Process) error {
	b.mu.Lock()
	b.processes = append(b.processes, p)
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return errors.Join(fmt.Errorf("start %s: the testbed is closed", p.Name()), p.Kill())
	}
	return nil
}

// folder makes a folder in the bed.
func (b *Bed) folder(elements ...string) (string, error) {
	dir := filepath.Join(append([]string{b.dir}, elements...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a folder in the testbed: %w", err)
	}
	return dir, nil
}

// socket returns a path for a unix socket. The system allows about 100
// characters, so a bed with a long path has its sockets elsewhere.
func (b *Bed) socket(name string) (string, error) {
	path := filepath.Join(b.dir, name+".sock")
	if len(path) < 100 {
		return path, nil
	}
	dir, err := os.MkdirTemp("/tmp", "ls-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the socket %s: %w", name, err)
	}
	b.removeOnClose(dir)
	return filepath.Join(dir, "s"), nil
}

// removeOnClose lets Close remove files and folders outside the bed.
func (b *Bed) removeOnClose(paths ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outside = append(b.outside, paths...)
}
