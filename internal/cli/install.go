package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// defaultTarget is where Velero mounts the folder of its plugins in the init
// container that `velero plugin add` makes, which it starts without a command.
const defaultTarget = "/target"

func runInstall(args []string, stdout io.Writer) error {
	target := defaultTarget
	switch len(args) {
	case 0:
	case 1:
		target = args[0]
	default:
		return errors.New("install takes one folder at most")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: find this binary: %w", err)
	}
	installed, err := install(self, target)
	if err != nil {
		return fmt.Errorf("install into %s: %w; the folder must exist, be writable and have room", target, err)
	}
	fmt.Fprintln(stdout, "installed", installed)
	return nil
}

// install copies the file self into the folder target under its own name. The
// copy appears whole or not at all.
func install(self, target string) (string, error) {
	source, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer source.Close()
	temporary, err := os.CreateTemp(target, ".install-*")
	if err != nil {
		return "", err
	}
	installed := filepath.Join(target, filepath.Base(self))
	if err := fill(temporary, source); err != nil {
		return "", errors.Join(err, os.Remove(temporary.Name()))
	}
	if err := os.Rename(temporary.Name(), installed); err != nil {
		return "", errors.Join(err, os.Remove(temporary.Name()))
	}
	return installed, nil
}

// fill copies source into file, makes it executable for all, since Velero runs
// as another user, and closes it.
func fill(file *os.File, source io.Reader) error {
	_, err := io.Copy(file, source)
	return errors.Join(err, file.Chmod(0o755), file.Sync(), file.Close())
}
