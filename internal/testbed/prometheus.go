package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Prometheus is a folder with Prometheus' server and promtool, Pushgateway one with
// the program that jobs push their metrics to.
var (
	Prometheus = Part{
		Name: "prometheus", make: fetchDebian,
		debian: &debianPart{
			release: "bookworm", title: "Debian 12 (bookworm)", of: "prometheus", version: "2.42.0",
			packages: []string{"prometheus"}, programs: []string{"usr/bin/prometheus", "usr/bin/promtool"},
		},
	}
	Pushgateway = Part{
		Name: "prometheus-pushgateway", make: fetchDebian,
		debian: &debianPart{
			release: "bookworm", title: "Debian 12 (bookworm)", of: "prometheus-pushgateway", version: "1.5.1",
			packages: []string{"prometheus-pushgateway"}, programs: []string{"usr/bin/prometheus-pushgateway"},
		},
	}
)

// StartPushgateway starts a Pushgateway, and returns its address too.
func (b *Bed) StartPushgateway(ctx context.Context) (p *Process, url string, err error) {
	part, err := path(ctx, b.progress, Pushgateway)
	if err != nil {
		return nil, "", err
	}
	p, err = b.startOnPorts(ctx, "pushgateway", 1, func(ports []int) Command {
		url = "http://" + address(ports[0])
		return Command{
			Path: filepath.Join(part, "usr/bin/prometheus-pushgateway"), Args: []string{"--web.listen-address=" + address(ports[0])},
			Ready: answersHTTP(url + "/-/ready"),
		}
	})
	return p, url, err
}

// StartPrometheus starts a Prometheus with a configuration, and returns its address
// too. history are samples of the past that it has, in the format of OpenMetrics; "" for
// none.
func (b *Bed) StartPrometheus(ctx context.Context, config, history string) (p *Process, url string, err error) {
	part, err := path(ctx, b.progress, Prometheus)
	if err != nil {
		return nil, "", err
	}
	dir, err := b.folder("prometheus")
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, "", fmt.Errorf("start prometheus: %w", err)
	}
	if history != "" {
		past := filepath.Join(dir, "history")
		if err := os.WriteFile(past, []byte(history), 0o600); err != nil {
			return nil, "", fmt.Errorf("start prometheus: %w", err)
		}
		if _, err := Promtool(ctx, "", "tsdb", "create-blocks-from", "openmetrics", past, filepath.Join(dir, "data")); err != nil {
			return nil, "", fmt.Errorf("start prometheus: %w", err)
		}
	}
	p, err = b.startOnPorts(ctx, "prometheus-server", 1, func(ports []int) Command {
		url = "http://" + address(ports[0])
		return Command{
			Path: filepath.Join(part, "usr/bin/prometheus"), Dir: dir,
			Args:  []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address(ports[0])},
			Ready: answersHTTP(url + "/-/ready"),
		}
	})
	return p, url, err
}

// PromtoolVariable is the environment variable with the path of another promtool than
// that of Prometheus, such as the newest.
const PromtoolVariable = "LONGSHORE_PROMTOOL"

// Promtool runs promtool and returns what it wrote; input is for its standard input.
func Promtool(ctx context.Context, input string, args ...string) (string, error) {
	program := os.Getenv(PromtoolVariable)
	if program == "" {
		part, err := path(ctx, stderr, Prometheus)
		if err != nil {
			return "", err
		}
		program = filepath.Join(part, "usr/bin/promtool")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("promtool %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}
