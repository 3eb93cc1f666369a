package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor time in /proc on Linux.
const ticksPerSecond = 100

// childOf returns the one child of parent that runs the program at path.
func childOf(parent int, path string) (int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	for _, link := range links {
		if running, err := os.Readlink(link); err != nil || running != path {
			continue // another program, or it ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return 0, err
		}
		if fields, err := statFields(pid); err == nil && fields[1] == strconv.Itoa(parent) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no child process runs %s", path)
}

// statFields are the fields of /proc/PID/stat from the state on, which is the
// third.
func statFields(pid int) ([]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(content), ") ")
	return strings.Fields(after), nil
}

// processorTime is the time that a process has had of the processors, its own
// and the kernel's for it.
func processorTime(pid int) (time.Duration, error) { return ticks(pid, 11, 13) } // utime, stime

// ticks adds up some of statFields that are times.
func ticks(pid, from, to int) (time.Duration, error) {
	fields, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, field := range fields[from:to] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticksPerSecond, nil
}

// resident, anonymous and peakResident are keys of /proc/PID/status.
const (
	resident     = "VmRSS"
	anonymous    = "RssAnon"
	peakResident = "VmHWM"
)

// memory reads a figure of a process's memory, in megabytes.
func memory(pid int, key string) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(content) {
		fields := strings.Fields(string(line))
		if len(fields) >= 2 && fields[0] == key+":" {
			kibibytes, err := strconv.ParseFloat(fields[1], 64)
			return kibibytes * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", key, pid)
}

// forgetPeak makes peakResident begin again.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
