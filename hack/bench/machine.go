package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// machine is where and with what the figures were made.
type machine struct {
	Processor string            `json:"-"` // that of each row stands with it
	Cores     int               `json:"cores"`
	MemoryGiB int               `json:"memoryGiB"`
	System    string            `json:"system"`
	Go        string            `json:"go"`
	Versions  map[string]string `json:"versions"`
}

func describeMachine() (machine, error) {
	m := machine{
		Processor: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		System: "Linux " + strings.TrimSpace(text("/proc/sys/kernel/osrelease")) + " " + runtime.GOARCH,
		Go:     runtime.Version(), Versions: map[string]string{},
	}
	var kibibytes int
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kibibytes); err == nil {
		m.MemoryGiB = (kibibytes + mebibyte/2) / mebibyte
	}
	for _, p := range []testbed.Part{testbed.PluginForAWS, testbed.Velero, testbed.VersityGW, testbed.MinIO, testbed.KubeAPIServer, testbed.CSISnapshotter} {
		version, err := p.Version()
		if err != nil {
			return m, err
		}
		m.Versions[p.Name] = version
	}
	return m, nil
}

// field is the first value of a key in a file of /proc, empty if there is none.
func field(path, key string) string {
	for line := range strings.Lines(text(path)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func text(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(content)
}

func revision() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output() //nolint:noctx // it is at once
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

const (
	// idleLoad is the load of the last minute at most that other work may make.
	idleLoad = 0.5
	// idleWait is how long a run waits for that.
	idleWait = 5 * time.Minute
)

// awaitIdle waits until the machine has nothing else to do, and says so if it still
// has when the wait is over.
func awaitIdle(ctx context.Context) error {
	for end := time.Now().Add(idleWait); ; {
		var load float64 // 0 where nobody tells it
		_, _ = fmt.Sscan(text("/proc/loadavg"), &load)
		if load <= idleLoad {
			return nil
		}
		if time.Now().After(end) {
			progress("the machine is busy with other work (load %.1f): the figures are not to be trusted", load)
			return nil
		}
		progress("waiting up to %s for the machine to be idle (load %.1f)", time.Until(end).Round(time.Second), load)
		if err := pause(ctx, 15*time.Second); err != nil {
			return err
		}
	}
}
