package testbed

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inRepository moves the test into a repository of one program, with a cache
// folder of its own, and returns a part that its tools pin and the program.
func inRepository(t *testing.T) (pinned, own Part) {
	t.Helper()
	root := t.TempDir()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	require.NoError(t, err)
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	write(t, filepath.Join(root, "go.mod"), rootModule+"\n\ngo 1.26\n")
	write(t, filepath.Join(root, "tools", "go.mod"), "module example.com/tools\n\nrequire example.com/other v1.2.3\n")
	write(t, filepath.Join(root, "tools", "go.sum"), "")
	write(t, filepath.Join(root, "own", "go.mod"), "module example.com/own\n\ngo 1.26\n")
	write(t, filepath.Join(root, "own", "main.go"), program("one"))
	t.Chdir(filepath.Join(root, "own"))
	pinned = Part{Name: "tool", Module: "tools", Package: ".", versionOf: "example.com/other"}
	own = Part{Name: "own-" + filepath.Base(root), Module: "own", Package: ".", local: true}
	return pinned, own
}

func program(says string) string {
	return "package main\n\nfunc main() { println(\"" + says + "\") }\n"
}

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
}

func says(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func TestOwnProgramsAreBuiltAgain(t *testing.T) {
	_, own := inRepository(t)
	first, err := own.Path(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one", says(t, first))

	write(t, "main.go", program("two"))
	local.Delete(own.Name)
	second, err := own.Path(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, "two", says(t, second))
}

func TestPinnedPartsAreBuiltOnce(t *testing.T) {
	p, _ := inRepository(t)
	version, err := p.Version()
	require.NoError(t, err)
	require.Equal(t, "v1.2.3", version)

	builds := 0
	p.make = func(_ context.Context, _ Part, target string) error {
		builds++
		return os.WriteFile(target, []byte("a program"), 0o755)
	}
	var progress bytes.Buffer
	require.NoError(t, Build(t.Context(), &progress, p))
	require.NoError(t, Build(t.Context(), &progress, p))
	require.Equal(t, 1, builds)
	require.Contains(t, progress.String(), "building tool from source; all parts together take about 20 minutes")
	require.Regexp(t, `\[1/1\] tool … \d+ s\n\[1/1\] tool … ready\n$`, progress.String())

	first, err := cachePath(p)
	require.NoError(t, err)
	write(t, "../tools/go.sum", "changed\n")
	second, err := cachePath(p)
	require.NoError(t, err)
	require.NotEqual(t, first, second, "another go.sum is another program")
}

func TestFailedBuildShowsTheCompiler(t *testing.T) {
	_, own := inRepository(t)
	write(t, "main.go", "package main\n\nfunc main() { undefinedThing() }\n")
	var progress bytes.Buffer
	err := Build(t.Context(), &progress, own)
	require.ErrorContains(t, err, "build "+own.Name)
	require.ErrorContains(t, err, "undefined: undefinedThing")
	require.Contains(t, progress.String(), "failed")
	path, err := cachePath(own)
	require.NoError(t, err)
	there, err := exists(path)
	require.NoError(t, err)
	require.False(t, there)
}

func TestBuildWaitsForAnotherProcess(t *testing.T) {
	_, own := inRepository(t)
	target, err := cachePath(own)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
	unlock, err := lockBuild(t.Context(), io.Discard, own, target)
	require.NoError(t, err)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = lockBuild(short, io.Discard, own, target)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "wait for another process that builds parts")

	unlock()
	_, err = own.Path(t.Context())
	require.NoError(t, err)
}

func TestOutsideTheRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Etcd.Path(t.Context())
	require.ErrorContains(t, err, "find the repository")
}

func TestEveryPartIsPinned(t *testing.T) {
	for _, p := range Parts() {
		version, err := p.Version()
		require.NoError(t, err, p.Name)
		require.NotEmpty(t, version, p.Name)
	}
}
