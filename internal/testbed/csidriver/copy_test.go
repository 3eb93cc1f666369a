package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// node is what a true copy of a file shares with it.
type node struct {
	Mode     uint32
	UID, GID uint32
	Size     int64
	Modified unix.Timespec
	Links    uint64
	Content  string
	Label    string
}

func describeTree(t *testing.T, root string) map[string]node {
	t.Helper()
	found := map[string]node{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		var stat unix.Stat_t
		require.NoError(t, unix.Lstat(path, &stat))
		n := node{Mode: stat.Mode, UID: stat.Uid, GID: stat.Gid, Modified: stat.Mtim}
		switch entry.Type() {
		case 0:
			n.Size, n.Links, n.Content, n.Label = stat.Size, uint64(stat.Nlink), read(t, path), label(path) //nolint:unconvert // it is narrower on arm64
		case fs.ModeSymlink:
			n.Content, err = os.Readlink(path)
			require.NoError(t, err)
		}
		relative, err := filepath.Rel(root, path)
		require.NoError(t, err)
		found[relative] = n
		return nil
	}))
	return found
}

func label(path string) string {
	buffer := make([]byte, 64)
	size, err := unix.Lgetxattr(path, "user.colour", buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:size])
}

func TestCopyIsTrue(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	require.NoError(t, os.MkdirAll(filepath.Join(from, "a/b/empty"), 0o755))
	write(t, filepath.Join(from, "a/plain"), "plain")
	write(t, filepath.Join(from, "a/none"), "")
	write(t, filepath.Join(from, "a/script"), "#!/bin/sh")
	require.NoError(t, unix.Chmod(filepath.Join(from, "a/script"), 0o4751))
	write(t, filepath.Join(from, "a/b/locked"), "locked")
	require.NoError(t, os.Link(filepath.Join(from, "a/plain"), filepath.Join(from, "a/b/same")))
	require.NoError(t, os.Symlink("../plain", filepath.Join(from, "a/b/link")))
	require.NoError(t, os.Symlink("/nowhere/at all", filepath.Join(from, "dangling")))
	require.NoError(t, unix.Mkfifo(filepath.Join(from, "pipe"), 0o640))
	write(t, filepath.Join(from, "odd\nname\xff"), "odd")
	err := unix.Lsetxattr(filepath.Join(from, "a/plain"), "user.colour", []byte("green"), 0)
	require.True(t, err == nil || errors.Is(err, unix.ENOTSUP), "%v", err)
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	require.NoError(t, os.Chtimes(filepath.Join(from, "a/script"), old, old))
	require.NoError(t, os.Chtimes(filepath.Join(from, "a/b"), old, old))
	require.NoError(t, unix.Chmod(filepath.Join(from, "a/b"), 0o2550))
	t.Cleanup(func() { require.NoError(t, removeTree(from)) })

	to := filepath.Join(t.TempDir(), "to")
	require.NoError(t, copyContent(t.Context(), from, to))
	t.Cleanup(func() { require.NoError(t, removeTree(to)) })

	require.Equal(t, describeTree(t, from), describeTree(t, to))
	first, err := os.Stat(filepath.Join(to, "a/plain"))
	require.NoError(t, err)
	second, err := os.Stat(filepath.Join(to, "a/b/same"))
	require.NoError(t, err)
	require.True(t, os.SameFile(first, second), "hard links stay links")
}

func TestCopyKeepsHoles(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	file, err := os.Create(from)
	require.NoError(t, err)
	const size = 8 << 30
	require.NoError(t, file.Truncate(size))
	for _, offset := range []int64{0, 3 << 30, size - 5} {
		_, err := file.WriteAt([]byte("data!"), offset)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())

	to := filepath.Join(t.TempDir(), "to")
	require.NoError(t, copyContent(t.Context(), from, to))

	var stat unix.Stat_t
	require.NoError(t, unix.Stat(to, &stat))
	require.EqualValues(t, size, stat.Size)
	require.Less(t, stat.Blocks*512, int64(1<<20), "holes take no space")
	copied, err := os.Open(to)
	require.NoError(t, err)
	defer copied.Close()
	for _, offset := range []int64{0, 3 << 30, size - 5} {
		var text [5]byte
		_, err := copied.ReadAt(text[:], offset)
		require.NoError(t, err)
		require.Equal(t, "data!", string(text[:]))
	}
}

// meddling is a context that does something whenever the copier looks whether
// it is to go on, which is in the middle of its work.
type meddling struct {
	context.Context
	do func()
}

func (m meddling) Err() error {
	m.do()
	return m.Context.Err()
}

func TestCopyOfAChangingSource(t *testing.T) {
	for name, test := range map[string]struct {
		changes int
		want    error
	}{
		"that settles": {copyAttempts - 1, nil},
		"that goes on": {1 << 20, errChanging},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
			require.NoError(t, os.Symlink("b", filepath.Join(from, "a")))
			write(t, filepath.Join(from, "b"), "")
			text, left := "", test.changes
			change := func() { // once per attempt, between a and b
				if !exists(filepath.Join(to, "a")) || exists(filepath.Join(to, "b")) || left == 0 {
					return
				}
				left--
				text += "."
				write(t, filepath.Join(from, "b"), text)
			}
			require.ErrorIs(t, copyContent(meddling{t.Context(), change}, from, to), test.want)
			require.Len(t, text, min(test.changes, copyAttempts))
			if test.want == nil {
				require.Equal(t, text, read(t, filepath.Join(to, "b")))
			}
		})
	}
}

func TestCopyDoesNotChaseAGrowingFile(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	text := "begun"
	write(t, from, text)
	grow := func() {
		text += "."
		write(t, from, text)
	}
	require.ErrorIs(t, copyContent(meddling{t.Context(), grow}, from, to), errChanging)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestCopyStopsWhenItsCallerGivesUp(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	write(t, filepath.Join(from, "a"), "a")
	write(t, filepath.Join(from, "b"), "b")
	ctx, cancel := context.WithCancel(t.Context())
	err := copyContent(meddling{ctx, func() {
		if exists(filepath.Join(to, "a")) {
			cancel()
		}
	}}, from, to)
	require.ErrorIs(t, err, context.Canceled)
	require.NoFileExists(t, filepath.Join(to, "b"))
}

func TestCopyNeverHidesAnError(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, filepath.Join(from, "a"), "new")
	require.ErrorIs(t, copyContent(t.Context(), from, to), fs.ErrExist)
	require.ErrorIs(t, copyContent(t.Context(), filepath.Join(from, "gone"), to), fs.ErrNotExist)
}

func TestAFailedFillLeavesNothing(t *testing.T) {
	store, err := openStore(t.TempDir())
	require.NoError(t, err)
	id := store.volumes.newID(0)
	err = store.volumes.add(id, &volume{ID: id}, func(folder string) error {
		write(t, filepath.Join(folder, "half"), "half")
		return errChanging
	})
	require.ErrorIs(t, err, errChanging)
	_, err = store.volumes.get(id)
	require.ErrorIs(t, err, errAbsent)
	left, err := store.leftovers()
	require.NoError(t, err)
	require.Empty(t, left)
}
