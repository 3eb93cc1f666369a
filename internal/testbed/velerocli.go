package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// CLI runs the real velero command-line tool in Velero's namespace and returns
// what it wrote to both outputs; the error carries it too.
func (v *VeleroServer) CLI(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"--namespace", v.Namespace, "--kubeconfig", v.Cluster.Kubeconfig}, args...)
	out, err := v.Cluster.bed.output(ctx, Command{Path: v.program, Args: all, Dir: v.Cluster.dir})
	if err != nil {
		return out, fmt.Errorf("velero %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// output runs a program to its end, which ctx may hasten, and returns what it
// wrote.
func (b *Bed) output(ctx context.Context, c Command) (string, error) {
	g, err := newGuard()
	if err != nil {
		return "", err
	}
	defer g.end()
	var out bytes.Buffer
	cmd := prepare(b, c, &out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.group()}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, g.signal)
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}
