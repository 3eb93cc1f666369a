package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// container is a process in an unpacked image, as a container runtime starts
// one: in the image's root folder, as the image's user, without any capability,
// with a volume. It needs no runtime and no root, but user namespaces.
type container struct {
	Root string
	User int
	Args []string
	// Target is where the volume is mounted, Volume the folder that it is. Without
	// a Volume it is a file system in memory of Size bytes.
	Target, Volume string
	Size           int64
	ReadOnly       bool
}

// exited is what came of a container.
type exited struct {
	Code   int
	Output string
	// Left are the files in the volume.
	Left []string
}

const containerVariable = "LONGSHORE_CONTAINER"

// Numbers of Linux that package syscall does not name; see capabilities(7) and
// prctl(2).
const (
	capSysChroot         = 18
	capSysAdmin          = 21
	prCapAmbient         = 47
	prCapAmbientClearAll = 4
)

func TestMain(m *testing.M) {
	if text := os.Getenv(containerVariable); text != "" {
		inside(text)
		return
	}
	os.Exit(m.Run())
}

// run runs the container to its end.
func (c container) run(t *testing.T) exited {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.WaitDelay = time.Second
	cmd.Env = []string{containerVariable + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: c.User, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: c.User, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{capSysAdmin, capSysChroot},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	require.NoError(t, cmd.Run(), "start a process in a user namespace of its own, which this system must allow: %s", &problem)
	var result exited
	require.NoError(t, json.Unmarshal(out.Bytes(), &result), out.String())
	return result
}

// inside is the process that makes the mounts, which end with it, and starts the
// container's.
func inside(text string) {
	result, err := start(text)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(text string) (exited, error) {
	var c container
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return exited{}, err
	}
	if err := c.mount(); err != nil {
		return exited{}, err
	}
	// The capabilities that the mounts took belong to this thread. The process
	// is to have none.
	runtime.LockOSThread()
	if _, _, failed := syscall.RawSyscall6(syscall.SYS_PRCTL, prCapAmbient, prCapAmbientClearAll, 0, 0, 0, 0); failed != 0 {
		return exited{}, fmt.Errorf("drop capabilities: %w", failed)
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Path, cmd.Err = c.Args[0], nil // it is a path in the image
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.Root, Pdeathsig: syscall.SIGKILL}
	output, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return exited{}, err
	}
	left, err := names(c.volume())
	return exited{Code: cmd.ProcessState.ExitCode(), Output: string(output), Left: left}, err
}

func (c container) volume() string { return filepath.Join(c.Root, c.Target) }

// mount makes the mounts of the container.
func (c container) mount() error {
	proc := filepath.Join(c.Root, "proc")
	for _, folder := range []string{c.volume(), proc} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("/proc", proc, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if c.Volume != "" {
		return wrapMount(syscall.Mount(c.Volume, c.volume(), "", syscall.MS_BIND, ""))
	}
	var flags uintptr
	if c.ReadOnly {
		flags = syscall.MS_RDONLY
	}
	return wrapMount(syscall.Mount("volume", c.volume(), "tmpfs", flags, "mode=0777,size="+strconv.FormatInt(c.Size, 10)))
}

func wrapMount(err error) error {
	if err != nil {
		return fmt.Errorf("mount the volume: %w", err)
	}
	return nil
}

func names(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	var all []string
	for _, entry := range entries {
		all = append(all, strings.TrimSpace(entry.Name()))
	}
	return all, err
}
