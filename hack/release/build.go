package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const pluginPath = "plugins/" + name

// program is the binary, which Windows wants to end in .exe.
func (b *builder) program(p platform) string {
	path := b.rootfs(p, filepath.FromSlash(pluginPath))
	if p.os == "windows" {
		path += ".exe"
	}
	return path
}

// build compiles the plugin into the image's folder.
func (b *builder) build(ctx context.Context, p platform) error {
	target := b.program(p)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	_, err := b.goTool(ctx, p, "build", "-tags", b.tags, "-ldflags", b.ldflags, "-o", target, ".")
	if err != nil {
		return err
	}
	return os.Chmod(target, 0o755)
}

// goTool runs the go command in the repository for a platform, and returns what it
// wrote.
func (b *builder) goTool(ctx context.Context, p platform, args ...string) ([]byte, error) {
	return b.goToolWith(ctx, []string{"GOOS=" + p.os, "GOARCH=" + p.arch}, args...)
}

// goToolWith decides all that could make two builds differ: paths, the state of
// the work tree, and choices of the machine.
func (b *builder) goToolWith(ctx context.Context, env []string, args ...string) ([]byte, error) {
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "PWD="+b.root, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-trimpath -buildvcs=false",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(problem.String())
		return nil, errors.Join(fmt.Errorf("go %s: %w", args[0], err), errors.New(said))
	}
	return out.Bytes(), nil
}
