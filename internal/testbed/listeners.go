package testbed

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// onOwnPorts is ready only when nobody but the process itself listens on its
// ports. Between the choice of a port and the start another program may take it,
// and would then answer the probe in the place of one that is about to fail.
func (p *Process) onOwnPorts(ready func(context.Context) error, ports []int) func(context.Context) error {
	if ready == nil || len(ports) == 0 {
		return ready
	}
	return func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		r := p.running()
		if r == nil {
			return errStopped
		}
		return strangersOn(ports, r.guard.group())
	}
}

// strangersOn fails if a process of another group listens on one of the ports.
// Where the system does not tell who listens, it finds nobody.
func strangersOn(ports []int, group int) error {
	listening := listeners(ports)
	if len(listening) == 0 {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // The pattern is well formed.
	for _, link := range links {
		target, err := os.Readlink(link)
		port, ours := listening[target]
		if err != nil || !ours {
			continue
		}
		pid := strings.Split(link, "/")[2]
		if its := groupOf(pid); its != 0 && its != group {
			return fmt.Errorf("port %d was taken by process %s", port, pid)
		}
	}
	return nil
}

// listeners are the sockets that listen on the ports, as the links of open files
// name them.
func listeners(ports []int) map[string]int {
	found := map[string]int{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			const listen = "0A"
			if len(fields) < 10 || fields[3] != listen {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseInt(hex, 16, 32)
			if err == nil && slices.Contains(ports, int(port)) {
				found["socket:["+fields[9]+"]"] = int(port)
			}
		}
		_ = file.Close() // It was only read.
	}
	return found
}

// groupOf is the process group of a process, 0 if it is gone.
func groupOf(pid string) int {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(stat), ") ") // pid (name) state parent group
	fields := strings.Fields(after)
	if len(fields) < 3 {
		return 0
	}
	group, _ := strconv.Atoi(fields[2]) // A number, or the format is not known.
	return group
}
