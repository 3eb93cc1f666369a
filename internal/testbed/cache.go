package testbed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cacheDir is where the built parts of every clone are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "longshore", "parts"), nil
}

// cachePath is where the part is, or will be. A pinned part's folder is named by
// everything that decides what the build makes; a program of this repository has
// one place for each clone.
func cachePath(p Part) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	key, err := cacheKey(p)
	if err != nil {
		return "", fmt.Errorf("cache key of %s: %w", p.Name, err)
	}
	return filepath.Join(cache, key, p.Name), nil
}

func cacheKey(p Part) (string, error) {
	root, err := repoRoot()
	if err != nil {
		return "", err
	}
	if p.local {
		return digest([]byte(root)), nil
	}
	if p.debian != nil {
		return digest(fmt.Appendf(nil, "%v %s", *p.debian, runtime.GOARCH)), nil
	}
	args, err := buildArgs(p)
	if err != nil {
		return "", err
	}
	target, err := goTarget()
	if err != nil {
		return "", err
	}
	parts := [][]byte{[]byte(strings.Join(args, "\n")), []byte(target)}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, p.Module, name))
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	return digest(parts...), nil
}

func digest(parts ...[]byte) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d\n", len(part))
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// goTarget is the compiler's version and the machine it compiles for.
var goTarget = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	return string(out), nil
})

// lockBuild waits until no other process builds pinned parts: two builds at once
// would compile the same packages twice. A program of this repository has a lock
// of its own, so as not to wait for minutes behind those.
func lockBuild(ctx context.Context, progress io.Writer, p Part, target string) (unlock func(), err error) {
	lock := filepath.Join(filepath.Dir(filepath.Dir(target)), ".lock")
	if p.local {
		lock = target + ".lock"
	}
	file, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	if err := waitFlock(ctx, file, progress); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

func waitFlock(ctx context.Context, file *os.File, progress io.Writer) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if tries == 20 {
			fmt.Fprintln(progress, "waiting for another process that builds parts …")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that builds parts (lock %s): %w", file.Name(), ctx.Err())
		case <-tick.C:
		}
	}
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
