package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// watchInterval is how often the children of a process are looked at: a plugin lives
// for some ten milliseconds at least.
const watchInterval = 3 * time.Millisecond

// childrenCost is what the children of a process took.
type childrenCost struct {
	processor time.Duration
	starts    int
	memory    float64 // the most that one had, in megabytes
}

// watched is a process whose children are looked at.
type watched struct {
	pid    int
	before time.Duration
	stop   context.CancelFunc
	done   chan childrenCost
}

func startWatching(ctx context.Context, pid int) (*watched, error) {
	before, err := childrenTime(pid)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watched{pid: pid, before: before, stop: stop, done: make(chan childrenCost, 1)}
	go w.look(ctx)
	return w, nil
}

func (w *watched) look(ctx context.Context) {
	seen := children(w.pid) // began before
	var cost childrenCost
	for pause(ctx, watchInterval) == nil {
		now := children(w.pid)
		for pid := range now {
			if !seen[pid] {
				cost.starts++
			}
			if programOf(pid) == programOf(w.pid) {
				continue // it has the memory of its parent until its own program begins
			}
			if peak, err := memory(pid, peakResident); err == nil { // it may have ended meanwhile
				cost.memory = max(cost.memory, peak)
			}
		}
		seen = now
	}
	w.done <- cost
}

// end returns what the children took since the start.
func (w *watched) end() (childrenCost, error) {
	w.stop()
	cost := <-w.done
	after, err := childrenTime(w.pid)
	cost.processor = after - w.before
	return cost, err
}

// programOf is the file that a process runs, "" if it has ended.
func programOf(pid int) string {
	path, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return path
}

// children are the ids of the children of a process.
func children(pid int) map[int]bool {
	found := map[int]bool{}
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // the pattern is good
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(text)) {
			if id, err := strconv.Atoi(field); err == nil {
				found[id] = true
			}
		}
	}
	return found
}

// childrenTime is the processor time of the children of a process that have ended.
func childrenTime(pid int) (time.Duration, error) { return ticks(pid, 13, 15) } // cutime, cstime
