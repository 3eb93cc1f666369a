package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const rootModule = "module github.com/longshore-dev/velero-plugin"

// repoRoot walks up from the working directory to the repository's go.mod.
// The working directory is all there is to go by: -trimpath takes the source
// folder out of the binary.
func repoRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		switch is, err := isRepoRoot(dir); {
		case err != nil:
			return "", fmt.Errorf("find the repository: %w", err)
		case is:
			return dir, nil
		case dir == filepath.Dir(dir):
			return "", fmt.Errorf("find the repository: no go.mod with %q in %s or above it", rootModule, start)
		}
	}
}

func isRepoRoot(dir string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first) == rootModule, nil
}

// pinnedVersion reads the version of a module from the go.mod in folder.
func pinnedVersion(root, folder, module string) (string, error) {
	file := filepath.Join(root, folder, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", module, err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("read the version of %s: not required in %s", module, file)
}
