package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// linkWindow is how many bytes of one connection may be without an
	// acknowledgement in one direction: what Linux grants TCP by default.
	linkWindow = 4 * mebibyte
	linkChunk  = 32 * kibibyte
	linkChunks = 1024 // more than fill the window, unless they are small
)

// link is a TCP proxy that plays a long way: every byte arrives half a round trip
// later, a connection takes a whole one to open. The way is as wide as the
// machine allows.
type link struct {
	listener  net.Listener
	target    string
	roundTrip time.Duration
	dialer    net.Dialer

	ctx    context.Context //nolint:containedctx // it lives as long as the link
	cancel context.CancelFunc
	open   sync.WaitGroup
}

// startLink makes a way of a round trip time to target, which is host:port.
func startLink(ctx context.Context, target string, roundTrip time.Duration) (*link, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, target: target, roundTrip: roundTrip}
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.open.Go(l.accept)
	return l, nil
}

func (l *link) address() string { return l.listener.Addr().String() }

// close breaks every connection and waits for its end.
func (l *link) close() error {
	l.cancel()
	err := l.listener.Close()
	l.open.Wait()
	return err
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.open.Go(func() { l.carry(near) })
	}
}

// carry joins both ends of a connection until one of them ends.
func (l *link) carry(near net.Conn) {
	defer near.Close()
	if pause(l.ctx, l.roundTrip) != nil {
		return
	}
	far, err := l.dialer.DialContext(l.ctx, "tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(l.ctx, func() { _ = errors.Join(near.Close(), far.Close()) })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { l.oneWay(far, near) })
	both.Go(func() { l.oneWay(near, far) })
	both.Wait()
}

// chunk is some bytes and the moment they arrive.
type chunk struct {
	bytes   []byte
	arrives time.Time
}

// oneWay carries bytes and then the end of the stream.
func (l *link) oneWay(to, from net.Conn) {
	way := make(chan chunk, linkChunks)
	go l.send(way, from)
	deliver(to, way)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // The other end may be gone already.
	}
}

// send puts on the way what it reads, as far as the window allows.
func (l *link) send(way chan<- chunk, from io.Reader) {
	window := semaphore.NewWeighted(linkWindow)
	sent := make(chan chunk, linkChunks)
	go l.acknowledge(window, sent)
	defer close(sent)
	defer close(way)
	for {
		read := make([]byte, linkChunk)
		n, err := from.Read(read)
		if n > 0 && window.Acquire(l.ctx, int64(n)) == nil {
			c := chunk{read[:n], time.Now().Add(l.roundTrip / 2)}
			way <- c
			sent <- c
		}
		if err != nil {
			return
		}
	}
}

// acknowledge takes each chunk out of the window when word of its arrival is back.
func (l *link) acknowledge(window *semaphore.Weighted, sent <-chan chunk) {
	for c := range sent {
		time.Sleep(time.Until(c.arrives.Add(l.roundTrip / 2)))
		window.Release(int64(len(c.bytes)))
	}
}

// deliver writes each chunk when it arrives, and takes the rest from the way when
// there is nobody to write to.
func deliver(to io.Writer, way <-chan chunk) {
	var failed error
	for c := range way {
		if failed == nil {
			time.Sleep(time.Until(c.arrives))
			_, failed = to.Write(c.bytes)
		}
	}
}
