package check

import (
	"fmt"
	"sync"
	"time"
)

// progress is a line that says how long something has been under way.
type progress struct {
	terminal Terminal
	text     string
	began    time.Time
	done     chan struct{}

	mu             sync.Mutex
	showing, ended bool
}

// Progress shows text and the time that passes, on a terminal and from the first
// second on. What it returns ends and removes the line, and must be called before
// anything else is written; more calls do nothing.
func (t Terminal) Progress(text string) (end func()) {
	if !t.Live {
		return func() {}
	}
	p := &progress{terminal: t, text: text, began: time.Now(), done: make(chan struct{})}
	go p.tick()
	return p.end
}

func (p *progress) tick() {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticks.C:
			p.show()
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	took := " … " + seconds(time.Since(p.began))
	fmt.Fprint(p.terminal, "\r"+cut(p.text, p.terminal.Width-1-len(took))+took)
	p.showing = true
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	close(p.done)
	if p.showing {
		fmt.Fprint(p.terminal, "\r\x1b[K")
	}
}
