package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/require"
)

const version = "v0.0.0-test"

// makeIn runs a target of the Makefile as a person would.
func makeIn(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"-C", "../.."}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "MAKE") || name == "MFLAGS"
	})
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the plugin for all architectures")
	}
	dist := filepath.Join(t.TempDir(), "dist")
	// To compile for other systems takes minutes; the public CI does it.
	given := []string{"DIST=" + dist, "MACHINES=", "VERSION=" + version, "REVISION=0123456789", "SOURCE_DATE_EPOCH=1700000000"}
	out := makeIn(t, append(given, "release")...)
	require.Regexp(t, `\[10/10\] checksums … \d+ s\n`, out)

	sums := checked(t, dist)
	require.Len(t, sums, 5)
	for _, p := range images {
		requireContents(t, archived(t, dist, p.arch))
	}
	t.Run("the archive's binary", func(t *testing.T) { requireVersion(t, dist) })
	t.Run("only methods that are used", func(t *testing.T) { requireUsedMethods(t, dist) })
	t.Run("push", func(t *testing.T) { push(t, dist) })
	t.Run("sign", func(t *testing.T) { sign(t, dist, given) })
	t.Run("made again it is the same", func(t *testing.T) {
		makeIn(t, append(given, "release")...)
		require.Equal(t, sums, checked(t, dist))
	})
}

// requireContents wants an archive to have these files and pages of the manual, and
// nothing else.
func requireContents(t *testing.T, paths []string) {
	t.Helper()
	files := slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return strings.HasPrefix(path, "man/") })
	require.Equal(t, []string{"", "LICENSE", "README.md", "THIRD_PARTY_NOTICES", name, name + ".cdx.json"}, files)
	require.Subset(t, paths, []string{"man/" + name + ".1", "man/" + name + "-check-objectstore.1", "man/" + name + "-verify.1"})
}

// checked lets the usual program check the checksums, and returns them.
func checked(t *testing.T, dist string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = dist
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(sums)), "\n")
}

// archived unpacks an archive beside it and returns the names in its only
// folder.
func archived(t *testing.T, dist, arch string) []string {
	t.Helper()
	folder := name + "_" + version + "_linux_" + arch
	file, err := os.Open(filepath.Join(dist, folder+".tar.gz"))
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	var names []string
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		within, found := strings.CutPrefix(header.Name, folder+"/")
		require.True(t, found, header.Name)
		names = append(names, within)
		if header.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(archive)
			require.NoError(t, err)
			require.NoError(t, write(filepath.Join(dist, "unpacked", header.Name), content, header.FileInfo().Mode()))
		}
	}
}

func requireVersion(t *testing.T, dist string) {
	binary := filepath.Join(dist, "unpacked", name+"_"+version+"_linux_"+runtime.GOARCH, name)
	out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput()
	require.NoError(t, err, string(out))
	first, _, _ := strings.Cut(string(out), "\n")
	require.Equal(t, name+" "+version, first)
	require.Contains(t, string(out), "commit: 0123456789\n")
}

// requireUsedMethods looks for a method that nothing calls. The linker keeps every
// method of every type, which makes the program a third larger, once one part of it
// looks methods up by their names, as net/rpc and text/template do. A method that is
// called shows that names are found at all.
func requireUsedMethods(t *testing.T, dist string) {
	for _, p := range images {
		program, err := os.ReadFile(filepath.Join(dist, "unpacked", name+"_"+version+"_"+p.file(), name))
		require.NoError(t, err)
		require.True(t, bytes.Contains(program, []byte("time.Time.String")), p)
		require.False(t, bytes.Contains(program, []byte("time.Time.GobEncode")), "%s: find what imports net/rpc, text/template, encoding/gob "+
			"or calls reflect's MethodByName with a variable: go build -ldflags=-dumpdep 2>&1 | grep ReflectMethod", p)
	}
}

// push pushes to a real registry, which must have the same image then.
func push(t *testing.T, dist string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	makeIn(t, "push", "DIST="+dist, "IMAGE="+address+"/longshore/velero-plugin:"+version)

	index, err := layout.ImageIndexFromPath(filepath.Join(dist, "image", "oci"))
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	response, err := http.Get(server.URL + "/v2/longshore/velero-plugin/manifests/" + version)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, manifest.Manifests[0].Digest.String(), response.Header.Get("Docker-Content-Digest"))
}

// TestWriteZip: the archive for Windows has the files of the folder and of those in
// it, and is the same each time.
func TestWriteZip(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, write(filepath.Join(folder, "LICENSE"), []byte("terms"), 0o644))
	require.NoError(t, write(filepath.Join(folder, "man", "page.1"), []byte("manual"), 0o644))
	var first, second bytes.Buffer
	require.NoError(t, writeZip(&first, folder, "inside", time.Unix(1700000000, 0)))
	require.NoError(t, writeZip(&second, folder, "inside", time.Unix(1700000000, 0)))
	require.Equal(t, first.Bytes(), second.Bytes())
	archive, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	require.NoError(t, err)
	found := map[string]string{}
	for _, file := range archive.File {
		content, err := archive.Open(file.Name)
		require.NoError(t, err)
		text, err := io.ReadAll(content)
		require.NoError(t, err)
		found[file.Name] = string(text)
	}
	require.Equal(t, map[string]string{"inside/LICENSE": "terms", "inside/man/page.1": "manual"}, found)
}

func TestWrongUse(t *testing.T) {
	taken := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(taken, "thesis.txt"), nil, 0o600))
	for _, test := range []struct {
		args    []string
		problem string
	}{
		{nil, "say one of release, image, sign and licences"},
		{[]string{"-version", "v1", "everything"}, `"everything" is not release, image, sign or licences`},
		{[]string{"image"}, `-version "": want letters`},
		{[]string{"-version", "a/b", "image"}, `-version "a/b": want letters`},
		{[]string{"-version", "v1", "-out", taken, "image"}, "is not empty and was not made by this program"},
		{[]string{"-version", "v1", "-out", taken, "sign"}, "nothing is released yet: make release"},
	} {
		require.ErrorContains(t, run(t.Context(), test.args, io.Discard), test.problem)
	}
	require.FileExists(t, filepath.Join(taken, "thesis.txt"))
}
