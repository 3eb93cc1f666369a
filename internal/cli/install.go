package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// defaultTarget is where Velero mounts the folder of its plugins in the init
// container that `velero plugin add` makes, which it starts without a command.
const defaultTarget = "/target"

func runInstall(args []string, stdout, stderr io.Writer) int {
	target := defaultTarget
	switch {
	case len(args) == 0:
	case isHelp(args[0]):
		return show(stdout, installUsage, exitOK)
	case len(args) > 1 || strings.HasPrefix(args[0], "-"):
		return usageError(stderr, fmt.Errorf("install takes one folder at most and no flags, not %s", strings.Join(args, " ")))
	default:
		target = args[0]
	}
	return report(stderr, installInto(target, stdout))
}

func installInto(target string, stdout io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: find this binary: %w", err)
	}
	installed, err := install(self, target)
	if err != nil {
		return fmt.Errorf("install into %s: %w; %s", target, err, installHint(err, self))
	}
	fmt.Fprintln(stdout, "installed", installed)
	return nil
}

// installHint says what to change after a failed installation.
func installHint(err error, self string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "mount a volume there, or name another folder"
	case errors.Is(err, syscall.EROFS):
		return "mount the volume without readOnly"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let the user %d write into it", os.Geteuid())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		if info, err := os.Stat(self); err == nil {
			return fmt.Sprintf("it must have room for %d MiB", info.Size()>>20+1)
		}
	}
	return "it must be a folder that is writable and has room"
}

// install copies the file self into the folder target under its own name. The
// copy appears whole or not at all. What an installation leaves that was killed,
// the next one takes over.
func install(self, target string) (string, error) {
	source, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer source.Close()
	installed := filepath.Join(target, filepath.Base(self))
	temporary, err := os.OpenFile(filepath.Join(target, ".installing-"+filepath.Base(self)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", reason(err)
	}
	if err := fill(temporary, source); err != nil {
		return "", errors.Join(reason(err), os.Remove(temporary.Name()))
	}
	if err := os.Rename(temporary.Name(), installed); err != nil {
		return "", errors.Join(err, os.Remove(temporary.Name()))
	}
	return installed, nil
}

// reason is an error without the name of the temporary file, which nobody knows.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// fill copies source into file, makes it executable for all, since Velero runs
// as another user, and closes it.
func fill(file *os.File, source io.Reader) error {
	_, err := io.Copy(file, source)
	if err == nil {
		err = errors.Join(file.Sync(), file.Chmod(0o755))
	}
	return errors.Join(err, file.Close())
}
