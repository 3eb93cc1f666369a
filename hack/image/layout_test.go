package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// descriptor points to a blob of an OCI layout.
type descriptor struct {
	MediaType, Digest string
	Size              int64
	Annotations       map[string]string
	Platform          struct{ OS, Architecture string }
}

// config is an image's.
type config struct {
	OS, Architecture, Created string
	Config                    struct {
		User, WorkingDir string
		Entrypoint, Cmd  []string
		Labels           map[string]string
	}
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// archived is an OCI archive, read into memory.
type archived struct {
	*testing.T
	files map[string][]byte
}

func readArchive(t *testing.T, path string) archived {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	a := archived{t, map[string][]byte{}}
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return a
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		a.files[header.Name] = content
	}
}

// blob returns what a descriptor points to, which must be what it says.
func (a archived) blob(d descriptor) []byte {
	a.Helper()
	content, found := a.files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
	require.True(a, found, "%s is missing", d.Digest)
	require.Len(a, content, int(d.Size))
	require.Equal(a, d.Digest, fmt.Sprintf("sha256:%x", sha256.Sum256(content)))
	return content
}

func (a archived) decode(content []byte, into any) {
	a.Helper()
	require.NoError(a, json.Unmarshal(content, into))
}

// index returns the descriptor of the only image, and those of its manifests by
// architecture.
func (a archived) index() (descriptor, map[string]descriptor) {
	a.Helper()
	var top, index struct{ Manifests []descriptor }
	a.decode(a.files["index.json"], &top)
	require.Len(a, top.Manifests, 1)
	a.decode(a.blob(top.Manifests[0]), &index)
	all := map[string]descriptor{}
	for _, d := range index.Manifests {
		require.Equal(a, "linux", d.Platform.OS)
		all[d.Platform.Architecture] = d
	}
	require.Len(a, all, len(index.Manifests))
	return top.Manifests[0], all
}

// unpack writes the image's layers into a folder and returns its configuration.
func (a archived) unpack(d descriptor, folder string) config {
	a.Helper()
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	a.decode(a.blob(d), &manifest)
	var c config
	a.decode(a.blob(manifest.Config), &c)
	require.Len(a, manifest.Layers, len(c.RootFS.DiffIDs))
	for i, layer := range manifest.Layers {
		unzipped, err := gzip.NewReader(bytes.NewReader(a.blob(layer)))
		require.NoError(a, err)
		content, err := io.ReadAll(unzipped)
		require.NoError(a, err)
		require.Equal(a, c.RootFS.DiffIDs[i], fmt.Sprintf("sha256:%x", sha256.Sum256(content)))
		a.untar(content, folder)
	}
	return c
}

// untar wants folders and files that belong to root and that nobody else can
// write, but for the folder of temporary files.
func (a archived) untar(content []byte, folder string) {
	a.Helper()
	for layer := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := layer.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(a, err)
		require.True(a, filepath.IsLocal(header.Name), header.Name)
		require.Zero(a, header.Uid+header.Gid, header.Name)
		path, mode := filepath.Join(folder, header.Name), header.FileInfo().Mode()
		if header.Typeflag == tar.TypeDir {
			require.NoError(a, os.MkdirAll(path, 0o755))
			require.NoError(a, os.Chmod(path, mode))
			require.True(a, header.Name == "tmp/" || mode.Perm() == 0o755, "%s %s", header.Name, mode)
			continue
		}
		require.Equal(a, byte(tar.TypeReg), header.Typeflag, header.Name)
		require.Contains(a, []os.FileMode{0o644, 0o755}, mode, header.Name)
		file, err := io.ReadAll(layer)
		require.NoError(a, err)
		require.NoError(a, os.WriteFile(path, file, mode))
		require.NoError(a, os.Chmod(path, mode))
	}
}
