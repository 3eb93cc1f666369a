package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// archive packs the binary with what belongs to it.
func (b *builder) archive(arch string) error {
	folder, err := os.MkdirTemp(b.out, ".archive-")
	if err != nil {
		return err
	}
	err = b.fill(folder, arch)
	if err == nil {
		err = b.pack(folder, arch)
	}
	return errors.Join(err, os.RemoveAll(folder))
}

// fill copies what an archive holds into a folder.
func (b *builder) fill(folder, arch string) error {
	if err := os.Chmod(folder, 0o755); err != nil {
		return err
	}
	for source, name := range map[string]string{
		b.rootfs(arch, filepath.FromSlash(pluginPath)):  name,
		b.rootfs(arch, filepath.FromSlash(noticesPath)): "THIRD_PARTY_NOTICES",
		b.rootfs(arch, filepath.FromSlash(sbomPath)):    filepath.Base(sbomPath),
		filepath.Join(b.root, "LICENSE"):                "LICENSE",
		filepath.Join(b.root, "README.md"):              "README.md",
	} {
		if err := copyFile(source, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) pack(folder, arch string) error {
	inside := fmt.Sprintf("%s_%s_%s_%s", name, b.version, goos, arch)
	return writeFile(b.named(goos+"_"+arch+".tar.gz"), func(out io.Writer) error {
		packed := gzip.NewWriter(out)
		return errors.Join(writeTree(packed, folder, inside, b.time), packed.Close())
	})
}

// copyFile gives the copy a mode that is the same on every machine.
func copyFile(source, target string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if filepath.Base(source) == name {
		mode = 0o755
	}
	return write(target, content, mode)
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
