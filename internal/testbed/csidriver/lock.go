package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	lockTimeout = time.Minute
	lockPoll    = 2 * time.Millisecond
)

// writerLock admits one writer among all goroutines and processes that share a
// storage. The kernel releases it when its holder dies.
type writerLock struct {
	path string
	turn chan struct{}
}

func newWriterLock(path string) *writerLock {
	return &writerLock{path: path, turn: make(chan struct{}, 1)}
}

// acquire waits until ctx ends, a minute at most, and then fails with Aborted,
// which callers retry. The returned function releases the lock.
func (l *writerLock) acquire(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, l.timedOut(ctx)
	}
	file, err := l.lockFile(ctx)
	if err != nil {
		<-l.turn
		return nil, err
	}
	return func() {
		_ = file.Close() // which releases the lock, whatever it returns
		<-l.turn
	}, nil
}

func (l *writerLock) lockFile(ctx context.Context) (*os.File, error) {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the storage's lock: %w", err)
	}
	if err := l.flock(ctx, file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// flock polls, since a blocking flock cannot be interrupted by ctx.
func (l *writerLock) flock(ctx context.Context, file *os.File) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", l.path, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return l.timedOut(ctx)
		}
	}
}

func (l *writerLock) timedOut(ctx context.Context) error {
	return status.Errorf(codes.Aborted, "waiting for %s, which another writer holds: %v", l.path, ctx.Err())
}
