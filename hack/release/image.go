package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageConfig is how a container of the image starts. The Dockerfile says the
// same, for those who build with it; a test compares them.
func (b *builder) imageConfig() v1.Config {
	return v1.Config{
		User:       "65532:65532",
		Entrypoint: []string{"/" + pluginPath, "install"},
		WorkingDir: "/",
		Labels:     b.labels(),
	}
}

func (b *builder) labels() map[string]string {
	const label = "org.opencontainers.image."
	return map[string]string{
		label + "title":         "Longshore",
		label + "description":   "Velero plugin: backups on any S3-compatible storage, volume snapshots with any CSI driver",
		label + "url":           homepage,
		label + "source":        homepage,
		label + "documentation": homepage + "#readme",
		label + "licenses":      "Apache-2.0",
		label + "version":       b.version,
		label + "revision":      b.revision,
		label + "created":       b.time.Format(time.RFC3339),
	}
}

// writeImage writes an OCI layout whose one entry is the index of the images of
// all architectures, and the layout's archive.
func (b *builder) writeImage() error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range images {
		image, err := b.imageFor(p)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
	}
	index = mutate.Annotations(index, b.labels()).(v1.ImageIndex)
	path, err := layout.Write(b.layout(), empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(b.imageNames())); err != nil {
		return err
	}
	return writeFile(b.named("image.tar"), func(out io.Writer) error { return writeTree(out, b.layout(), "", b.time) })
}

// imageNames tell podman, and containerd and docker, what to call the image that
// they load.
func (b *builder) imageNames() map[string]string {
	return map[string]string{
		"org.opencontainers.image.ref.name": imageName + ":" + b.version,
		"io.containerd.image.name":          "docker.io/" + imageName + ":" + b.version,
	}
}

func (b *builder) imageFor(p platform) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return b.rootfsTar(p), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: p.arch, OS: p.os, Created: v1.Time{Time: b.time}, Config: b.imageConfig(), RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: b.time}, CreatedBy: "make image", Comment: name + " " + b.version},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, b.labels()).(v1.Image), nil
}

// rootfsTar is the image's only layer. Its entries begin below the root, which
// belongs to no layer.
func (b *builder) rootfsTar(p platform) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeTree(writer, b.rootfs(p), "", b.time)) }()
	return reader
}

// digest is what the image is known by in a registry, and those of its platforms.
type digest struct{ of, sha256 string }

// digests are those of the index and of the images in it.
func (b *builder) digests() ([]digest, error) {
	path, err := layout.ImageIndexFromPath(b.layout())
	if err != nil {
		return nil, err
	}
	outer, err := path.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(outer.Manifests) != 1 {
		return nil, errors.New("the image's layout does not have exactly one entry")
	}
	hash := outer.Manifests[0].Digest
	index, err := path.ImageIndex(hash)
	if err != nil {
		return nil, err
	}
	inner, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	all := []digest{{"index", hash.Hex}}
	for _, m := range inner.Manifests {
		all = append(all, digest{m.Platform.Architecture, m.Digest.Hex})
	}
	return all, nil
}

// tellImage says what was made and what to do with it, to a person and, in the file
// digests, to a workflow.
func (b *builder) tellImage() error {
	all, err := b.digests()
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, d := range all {
		fmt.Fprintf(&lines, "%s=sha256:%s\n", d.of, d.sha256)
	}
	fmt.Fprintf(b.progress, "\nimage %s sha256:%s\n\n  make push IMAGE=REGISTRY/%s:%s\n\npushes it; %s holds it as an OCI archive\n",
		b.version, all[0].sha256, imageName, b.version, b.named("image.tar"))
	return write(filepath.Join(b.out, "image", "digests"), lines.Bytes(), 0o644)
}

func writeFile(path string, fill func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(fill(file), file.Chmod(0o644), file.Close())
}
