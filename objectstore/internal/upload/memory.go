package upload

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/internal/waits"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/heap"
)

// memory hands out the buffers that hold bodies and parts, within a limit that all
// uploads of a location share. An upload waits until there is enough.
type memory struct {
	limit int64
	free  *waits.Queue
	log   logrus.FieldLogger

	mu    sync.Mutex
	inUse int
	spare []*buffer // of one size, for the next parts while any are in use
}

func newMemory(limit int64, log logrus.FieldLogger) *memory {
	return &memory{limit: limit, free: waits.NewQueue(limit), log: log}
}

// buffer is memory for one part.
type buffer struct {
	bytes []byte
	of    *memory
}

// smallest are buffers of the smallest size that no upload has.
var smallest = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, smallBodies[0])} }}

// take waits for a buffer of size bytes. One that is larger than the limit is
// had when nothing else is.
func (m *memory) take(ctx context.Context, size int) (*buffer, error) {
	if err := m.free.Acquire(ctx, min(int64(size), m.limit), m.log, "Upload is waiting for ", m.what(size)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inUse++
	if size == smallBodies[0] {
		b := smallest.Get().(*buffer) //nolint:forcetypeassert // nothing else is in it
		b.of = m
		return b, nil
	}
	part := !slices.Contains(smallBodies, size)
	if part {
		heap.Hold()
	}
	if last := len(m.spare) - 1; last >= 0 && len(m.spare[last].bytes) == size {
		b := m.spare[last]
		m.spare = m.spare[:last]
		return b, nil
	}
	if part {
		m.spare = nil // beside a new buffer they would exceed the limit
	}
	return &buffer{bytes: make([]byte, size), of: m}, nil
}

// what says what a wait for size bytes is for.
func (m *memory) what(size int) string {
	return fmt.Sprintf("%v of memory: parts under way hold what uploadMemoryLimit (%v) allows", settings.Bytes(size), settings.Bytes(m.limit))
}

// release gives the buffer back. Nothing may read it any more.
func (b *buffer) release() {
	m := b.of
	part := !slices.Contains(smallBodies, len(b.bytes))
	m.mu.Lock()
	switch m.inUse--; {
	case m.inUse == 0:
		m.spare = nil
	case part && (len(m.spare) == 0 || len(m.spare[0].bytes) == len(b.bytes)):
		m.spare = append(m.spare, b)
	}
	m.mu.Unlock()
	if part {
		heap.Release()
	}
	m.free.Release(min(int64(len(b.bytes)), m.limit))
	if len(b.bytes) == smallBodies[0] {
		smallest.Put(b)
	}
}
