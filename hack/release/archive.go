package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"
)

// archive packs the binary with what belongs to it.
func (b *builder) archive(p platform) error {
	folder, err := os.MkdirTemp(b.out, ".archive-")
	if err != nil {
		return err
	}
	err = b.fill(folder, p)
	if err == nil {
		err = b.pack(folder, p)
	}
	return errors.Join(err, os.RemoveAll(folder))
}

// fill copies what an archive holds into a folder.
func (b *builder) fill(folder string, p platform) error {
	if err := os.Chmod(folder, 0o755); err != nil {
		return err
	}
	files := map[string]string{
		b.program(p): filepath.Base(b.program(p)),
		b.rootfs(p, filepath.FromSlash(noticesPath)): "THIRD_PARTY_NOTICES",
		b.rootfs(p, filepath.FromSlash(sbomPath)):    filepath.Base(sbomPath),
		filepath.Join(b.root, "LICENSE"):             "LICENSE",
		filepath.Join(b.root, "README.md"):           "README.md",
	}
	pages, err := filepath.Glob(filepath.Join(b.manualFolder(), "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		files[page] = "man/" + filepath.Base(page)
	}
	for source, name := range files {
		mode := os.FileMode(0o644)
		if source == b.program(p) {
			mode = 0o755
		}
		if err := copyFile(source, filepath.Join(folder, name), mode); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) manualFolder() string { return filepath.Join(b.out, "man") }

// manual writes the manual pages of the commands.
func (b *builder) manual(ctx context.Context) error {
	env := []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(b.seconds, 10), "VELERO_NAMESPACE=velero"}
	_, err := b.goToolWith(ctx, env, "run", "./hack/man", b.manualFolder())
	return err
}

// pack makes the archive that people expect on the platform.
func (b *builder) pack(folder string, p platform) error {
	inside := fmt.Sprintf("%s_%s_%s", name, b.version, p.file())
	if p.os == "windows" {
		return writeFile(b.named(p.file()+".zip"), func(out io.Writer) error { return writeZip(out, folder, inside, b.time) })
	}
	return writeFile(b.named(p.file()+".tar.gz"), func(out io.Writer) error {
		packed := gzip.NewWriter(out)
		return errors.Join(writeTree(packed, folder, inside, b.time), packed.Close())
	})
}

// copyFile gives the copy a mode that is the same on every machine.
func copyFile(source, target string, mode os.FileMode) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return write(target, content, mode)
}

// writeZip writes the files of a folder and of those in it, below the path inside.
func writeZip(out io.Writer, folder, inside string, modified time.Time) error {
	archive := zip.NewWriter(out)
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		packed, err := archive.CreateHeader(&zip.FileHeader{Name: path.Join(inside, filepath.ToSlash(relative)), Method: zip.Deflate, Modified: modified})
		if err != nil {
			return err
		}
		_, err = packed.Write(content)
		return err
	})
	return errors.Join(err, archive.Close())
}

// checksums writes SHA256SUMS, in the form that `sha256sum --check` reads, over
// all that is published.
func (b *builder) checksums() error {
	files, err := filepath.Glob(filepath.Join(b.out, name+"_*"))
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, file := range files {
		sum, err := checksum(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, filepath.Base(file))
	}
	return write(filepath.Join(b.out, "SHA256SUMS"), sums.Bytes(), 0o644)
}

func checksum(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return hash.Sum(nil), err
}
