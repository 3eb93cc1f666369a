package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// writeTree writes a folder and all that is in it as a tar, below the path
// prefix. Owner and times are the same for all, so that only names, modes and
// contents count.
func writeTree(out io.Writer, folder, prefix string, modified time.Time) error {
	archive := tar.NewWriter(out)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		if err != nil || relative == "." && prefix == "" {
			return err
		}
		return addToTree(archive, path, filepath.ToSlash(filepath.Join(prefix, relative)), entry, modified)
	})
	return errors.Join(err, archive.Close())
}

func addToTree(archive *tar.Writer, path, name string, entry fs.DirEntry, modified time.Time) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	*header = tar.Header{Typeflag: header.Typeflag, Name: name, Mode: header.Mode, Size: header.Size, ModTime: modified, Format: tar.FormatUSTAR}
	if entry.IsDir() {
		header.Name += "/"
	}
	if err := archive.WriteHeader(header); err != nil || entry.IsDir() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(archive, file)
	return err
}
