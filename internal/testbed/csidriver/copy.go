package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const copyAttempts = 5

// errChanging says that a source did not hold still for the time of a copy.
var errChanging = errors.New("the source keeps changing while it is copied")

// copyContent makes to, which must not exist, a true copy of the file or
// folder from. It begins again when the source changed meanwhile and gives up
// with errChanging; after any error the caller removes what to holds.
func copyContent(ctx context.Context, from, to string) error {
	for range copyAttempts {
		before, err := fingerprint(from)
		if err != nil {
			return err
		}
		copyErr := copyOnce(ctx, from, to)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		after, err := fingerprint(from)
		if err != nil {
			return err
		}
		if before == after {
			return copyErr
		}
		if err := removeTree(to); err != nil {
			return err
		}
	}
	return fmt.Errorf("copy %s: %w", from, errChanging)
}

// fingerprint changes whenever a file under root is written, made, renamed,
// removed or has its metadata changed.
func fingerprint(root string) ([sha256.Size]byte, error) {
	hash := sha256.New()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != root {
			fmt.Fprintf(hash, "%q vanished\n", path)
			return nil
		}
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		fmt.Fprintln(hash, len(path), path, stat.Ino, stat.Mode, stat.Size, stat.Mtim, stat.Ctim)
		return nil
	})
	return [sha256.Size]byte(hash.Sum(nil)), err
}

// inode identifies a file whatever its names.
type inode struct{ device, number uint64 }

// copier copies one tree; links has the first copy of each file with several
// names, so that hard links stay links.
type copier struct {
	ctx   context.Context
	from  string
	to    string
	links map[inode]string
}

func copyOnce(ctx context.Context, from, to string) error {
	c := &copier{ctx: ctx, from: from, to: to, links: map[inode]string{}}
	return c.copy("")
}

// copy copies the entry at the path below the roots, folders with all they
// hold. Attributes come last: a folder may forbid writing, and writing would
// change its times.
func (c *copier) copy(path string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	from, to := filepath.Join(c.from, path), filepath.Join(c.to, path)
	var stat unix.Stat_t
	if err := unix.Lstat(from, &stat); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	id := inode{stat.Dev, stat.Ino}
	if first, ok := c.links[id]; ok {
		return os.Link(first, to)
	}
	if err := c.copyBody(path, &stat); err != nil {
		return err
	}
	if err := copyAttributes(from, to, &stat); err != nil {
		return err
	}
	if stat.Nlink > 1 && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.links[id] = to
	}
	return nil
}

func (c *copier) copyBody(path string, stat *unix.Stat_t) error {
	from, to := filepath.Join(c.from, path), filepath.Join(c.to, path)
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.copyFolder(path)
	case unix.S_IFREG:
		return copyFile(c.ctx, from, to)
	case unix.S_IFLNK:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	default:
		if err := unix.Mknod(to, stat.Mode, int(stat.Rdev)); err != nil {
			return &fs.PathError{Op: "mknod", Path: to, Err: err}
		}
		return nil
	}
}

func (c *copier) copyFolder(path string) error {
	if err := os.Mkdir(filepath.Join(c.to, path), 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(c.from, path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := c.copy(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies the data of a regular file and leaves its holes holes. What
// is appended meanwhile is left out, or a copy of a log might never end.
func copyFile(ctx context.Context, from, to string) (err error) {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := copyExtents(ctx, in, out, info.Size()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return out.Truncate(info.Size())
}

func copyExtents(ctx context.Context, in, out *os.File, size int64) error {
	for offset := int64(0); offset < size; {
		start, err := in.Seek(offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && start >= size {
			return nil
		}
		if err != nil {
			return err
		}
		end, err := in.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := copyRange(ctx, in, out, start, min(end, size)); err != nil {
			return err
		}
		offset = end
	}
	return nil
}

// copyRange works in steps so that a large file can be given up in the middle.
func copyRange(ctx context.Context, in, out *os.File, start, end int64) error {
	const step = 64 << 20
	if _, err := in.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return err
	}
	for ; start < end; start += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, min(step, end-start)); err != nil {
			return err
		}
	}
	return nil
}

// copyAttributes sets owner, mode, extended attributes and times, in that
// order: a change of owner clears mode bits, and setting any of them is
// allowed only to who may write.
func copyAttributes(from, to string, stat *unix.Stat_t) error {
	if err := os.Lchown(to, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if err := copyExtended(from, to); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, stat.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	times := []unix.Timespec{stat.Atim, stat.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set times", Path: to, Err: err}
	}
	return nil
}

// copyExtended leaves out SELinux labels, which belong to the place and not to
// the file.
func copyExtended(from, to string) error {
	names, err := readSized(func(buffer []byte) (int, error) { return unix.Llistxattr(from, buffer) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "list attributes", Path: from, Err: err}
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		if name == "" || name == "security.selinux" {
			continue
		}
		value, err := readSized(func(buffer []byte) (int, error) { return unix.Lgetxattr(from, name, buffer) })
		if err != nil {
			return &fs.PathError{Op: "read attribute " + name, Path: from, Err: err}
		}
		if err := unix.Lsetxattr(to, name, value, 0); err != nil {
			return &fs.PathError{Op: "set attribute " + name, Path: to, Err: err}
		}
	}
	return nil
}

// readSized calls read with no buffer to learn the size, and again to fill it.
func readSized(read func([]byte) (int, error)) ([]byte, error) {
	size, err := read(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	buffer := make([]byte, size)
	size, err = read(buffer)
	if err != nil {
		return nil, err
	}
	return buffer[:size], nil
}
