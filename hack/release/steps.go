package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	name      = "velero-plugin-longshore"
	imageName = "longshore/velero-plugin"
	homepage  = "https://github.com/longshore-dev/velero-plugin"
)

// platform is what a binary is built for, as Go names it.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// file is the platform in the name of a file.
func (p platform) file() string { return p.os + "_" + p.arch }

// images are the platforms that Velero's own image has and people run.
var images = []platform{{"linux", "amd64"}, {"linux", "arm64"}}

// machines are those on which people run the command by hand.
var machines = []platform{{"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// builder makes things, one step after the other.
type builder struct {
	options
	progress io.Writer
	time     time.Time
}

type step struct {
	what string
	do   func(context.Context) error
}

// take takes the steps and tells how long each took.
func (b *builder) take(ctx context.Context, steps []step) error {
	for i, s := range steps {
		fmt.Fprintf(b.progress, "[%d/%d] %s … ", i+1, len(steps), s.what)
		began := time.Now()
		if err := s.do(ctx); err != nil {
			fmt.Fprintln(b.progress, "failed")
			return fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Fprintf(b.progress, "%.0f s\n", time.Since(began).Seconds())
	}
	return nil
}

// image makes the container image, as a folder and as an archive of it.
func (b *builder) image(ctx context.Context) error {
	if err := b.take(ctx, b.imageSteps()); err != nil {
		return err
	}
	return b.tellImage()
}

// release makes all that is published.
func (b *builder) release(ctx context.Context) error {
	steps := b.imageSteps()
	for _, p := range b.machines {
		steps = append(steps, b.binarySteps(p)...)
	}
	steps = append(steps, step{"manual", b.manual})
	for _, p := range append(slices.Clone(images), b.machines...) {
		steps = append(steps, step{"archive for " + p.String(), func(context.Context) error { return b.archive(p) }})
	}
	steps = append(steps, step{"checksums", func(context.Context) error { return b.checksums() }})
	if err := b.take(ctx, steps); err != nil {
		return err
	}
	return b.tellImage()
}

// imageSteps begin in an empty folder: nothing of an earlier version may be
// taken along.
func (b *builder) imageSteps() []step {
	steps := []step{{"empty " + b.out, func(context.Context) error { return b.empty() }}}
	for _, p := range images {
		steps = append(steps, b.binarySteps(p)...)
	}
	return append(steps, step{"container image", func(context.Context) error { return b.writeImage() }})
}

func (b *builder) binarySteps(p platform) []step {
	return []step{
		{"build for " + p.String(), func(ctx context.Context) error { return b.build(ctx, p) }},
		{"licences and contents of " + p.String(), func(ctx context.Context) error { return b.describe(ctx, p) }},
	}
}

// empty removes what an earlier run left. A folder that holds anything else is
// not ours to empty.
func (b *builder) empty() error {
	left, err := os.ReadDir(b.out)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	marker := filepath.Join(b.out, ".gitignore")
	if _, err := os.Stat(marker); len(left) > 0 && err != nil {
		return fmt.Errorf("%s is not empty and was not made by this program", b.out)
	}
	if err := os.RemoveAll(b.out); err != nil {
		return err
	}
	return write(marker, []byte("*\n"), 0o644)
}

// rootfs is the folder of what the image holds, or of the same for a platform that
// has no image.
func (b *builder) rootfs(p platform, elements ...string) string {
	folder := filepath.Join(b.out, "image", "rootfs")
	if p.os != "linux" {
		folder = filepath.Join(b.out, "programs")
	}
	return filepath.Join(append([]string{folder, p.os + "-" + p.arch}, elements...)...)
}

func (b *builder) layout() string { return filepath.Join(b.out, "image", "oci") }

// named is the path of a published file.
func (b *builder) named(end string) string {
	return filepath.Join(b.out, name+"_"+b.version+"_"+end)
}

// write makes a file and the folders above it, with modes that no umask changes.
func write(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
