// Package heap keeps this process small while it holds large buffers. Go lets a
// heap hold as much garbage as it has in use: little for a listing, and tens of MiB
// beside the parts of an upload.
package heap

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// garbage is how much of it there may be while buffers are held, in percent of what
// is in use.
const garbage = 25

var buffers struct {
	sync.Mutex
	held  int
	usual int // percent, while none is held
}

// Hold notes that a large buffer is in use, until Release is called for it.
func Hold() {
	buffers.Lock()
	defer buffers.Unlock()
	if buffers.held++; buffers.held == 1 {
		buffers.usual = debug.SetGCPercent(garbage)
	}
}

// Release is the end of Hold. What was held by the last one is collected at once: the
// heap may otherwise grow to twice of it before Go looks again.
func Release() {
	buffers.Lock()
	defer buffers.Unlock()
	if buffers.held--; buffers.held == 0 {
		runtime.GC()
		debug.SetGCPercent(buffers.usual)
	}
}
