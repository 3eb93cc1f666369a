package pluginserver

import (
	"os"
	"runtime"
	"sync"
)

// largeUpload is the size in bytes from which an upload has work for more than
// one processor: its parts are hashed while it is received.
const largeUpload = 4 << 20

// processors has the goroutines take turns on one processor while a single call
// moves data from one socket to the other: waking each other across processors
// costs a fifth of a download. Several calls at once have all processors that
// there are. So has a large upload, where there are more than two of them; with
// two, the S3 server or Velero needs the other. Where the environment says how
// many to use, this does nothing.
type processors struct {
	mu    sync.Mutex
	all   int // 0 if the environment decides
	calls int
	wide  bool
}

func newProcessors() *processors {
	p := &processors{}
	if os.Getenv("GOMAXPROCS") == "" {
		p.all = runtime.GOMAXPROCS(1)
	}
	return p
}

// begin notes that a call begins.
func (p *processors) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls > 1 {
		p.use(true)
	}
}

// end notes that a call has ended.
func (p *processors) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if p.calls == 0 {
		p.use(false)
	}
}

// widen tells that a call under way has work for more than one processor.
func (p *processors) widen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all > 2 {
		p.use(true)
	}
}

// use changes the number only where it has to: that stops all goroutines for a
// moment.
func (p *processors) use(all bool) {
	if p.all <= 1 || p.wide == all {
		return
	}
	p.wide = all
	if all {
		runtime.GOMAXPROCS(p.all)
	} else {
		runtime.GOMAXPROCS(1)
	}
}
