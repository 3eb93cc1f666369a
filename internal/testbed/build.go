package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

var stderr io.Writer = os.Stderr

// local has the paths of this repository's programs that this process built.
var local sync.Map

// Cached says whether the part is built. A program of this repository never
// counts as built.
func (p Part) Cached() (bool, error) {
	if p.local {
		return false, nil
	}
	target, err := cachePath(p)
	if err != nil {
		return false, err
	}
	return exists(target)
}

// Build builds those of parts that are not in the cache, one after the other,
// with a line of progress for each. Parts that this machine cannot have are left
// out, and the line says why.
func Build(ctx context.Context, progress io.Writer, parts ...Part) error {
	if err := announce(progress, parts); err != nil {
		return err
	}
	for i, p := range parts {
		fmt.Fprintf(progress, "[%d/%d] %s … ", i+1, len(parts), p.Name)
		if err := p.Possible(); err != nil {
			fmt.Fprintln(progress, "left out:", err)
			continue
		}
		begin := time.Now()
		built, err := ensure(ctx, progress, p)
		switch {
		case err != nil:
			fmt.Fprintln(progress, "failed")
			return err
		case built:
			fmt.Fprintf(progress, "%.0f s\n", time.Since(begin).Seconds())
		default:
			fmt.Fprintln(progress, "ready")
		}
	}
	return nil
}

// announce says how long it will take when a large part is missing.
func announce(progress io.Writer, parts []Part) error {
	var missing []string
	for _, p := range parts {
		switch cached, err := p.Cached(); {
		case err != nil:
			return err
		case !cached && p.debian != nil && p.Possible() == nil:
			fmt.Fprintf(progress, "fetching %s as packages of %s\n", p.Name, p.debian.title)
		case !cached && !p.local && p.debian == nil:
			missing = append(missing, p.Name)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(progress, "building %s from source; all parts together take about 20 minutes the first time, nothing later\n",
			strings.Join(missing, ", "))
	}
	return nil
}

// path returns the part's path, building it with lines of progress only if
// there is something to build.
func path(ctx context.Context, progress io.Writer, p Part) (string, error) {
	if built, ok := local.Load(p.Name); ok {
		return built.(string), nil
	}
	if err := p.Possible(); err != nil {
		return "", err
	}
	cached, err := p.Cached()
	switch {
	case err != nil:
		return "", err
	case p.local:
		_, err = ensure(ctx, progress, p)
	case !cached:
		err = Build(ctx, progress, p)
	}
	if err != nil {
		return "", err
	}
	return cachePath(p)
}

// ensure builds the part unless another process did meanwhile.
func ensure(ctx context.Context, progress io.Writer, p Part) (built bool, err error) {
	if cached, err := p.Cached(); cached || err != nil {
		return false, err
	}
	target, err := cachePath(p)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return false, fmt.Errorf("build %s: %w", p.Name, err)
	}
	unlock, err := lockBuild(ctx, progress, p, target)
	if err != nil {
		return false, err
	}
	defer unlock()
	if cached, err := p.Cached(); cached || err != nil {
		return false, err
	}
	if p.local {
		return true, buildLocal(ctx, p, target)
	}
	return true, buildPinned(ctx, p, target)
}

// buildPinned makes the part beside its place and moves it there whole.
func buildPinned(ctx context.Context, p Part, target string) error {
	temp, err := os.MkdirTemp(filepath.Dir(target), ".build-")
	if err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	build := p.make
	if build == nil {
		build = goBuild
	}
	made := filepath.Join(temp, p.Name)
	err = build(ctx, p, made)
	if err == nil {
		err = os.Rename(made, target)
	}
	return errors.Join(err, os.RemoveAll(temp))
}

// buildLocal lets go build refresh its own copy, which costs little when nothing
// changed, and then puts it in place under a program that may be running.
func buildLocal(ctx context.Context, p Part, target string) error {
	made := target + ".build"
	if err := goBuild(ctx, p, made); err != nil {
		return err
	}
	fresh := target + ".new"
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	if err := os.Link(made, fresh); err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	if err := os.Rename(fresh, target); err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	local.Store(p.Name, target)
	return nil
}

func goBuild(ctx context.Context, p Part, target string) error {
	args, err := buildArgs(p)
	if err != nil {
		return err
	}
	_, err = goRun(ctx, p, append([]string{"build", "-o", target}, args...)...)
	return err
}

// buildArgs are the flags and the package; they are part of the cache key.
func buildArgs(p Part) ([]string, error) {
	version, err := p.Version()
	if err != nil {
		return nil, err
	}
	ldflags := "-s -w"
	if p.stamp != "" {
		ldflags += " -X " + p.stamp + "=" + version
	}
	for _, assignment := range p.set {
		ldflags += " -X " + assignment
	}
	args := []string{"-trimpath", "-buildvcs=false", "-ldflags=" + ldflags}
	if p.tags != "" {
		args = append(args, "-tags="+p.tags)
	}
	return append(args, p.Package), nil
}

// goRun runs the go tool in the part's module and returns its standard output.
func goRun(ctx context.Context, p Part, args ...string) ([]byte, error) {
	root, err := repoRoot()
	if err != nil {
		return nil, err
	}
	var out, text strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, p.Module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "PWD="+cmd.Dir)
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build %s: go %s in %s: %w\n%s", p.Name, args[0], cmd.Dir, err, text.String())
	}
	return []byte(out.String()), nil
}
