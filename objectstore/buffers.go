package objectstore

import (
	"context"
	"sync"
)

// memory hands out the buffers that hold parts, within a limit that all uploads
// of a store share.
//
// Buffers lie outside Go's heap. There they would double the heap before the
// collector ran; here they cost what is written to them, and are gone the
// moment they are given back.
type memory struct {
	limit int64

	mu      sync.Mutex
	used    int64
	changed chan struct{} // closed and replaced whenever memory is given back
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, changed: make(chan struct{})}
}

// share is what one upload holds of a memory.
type share struct {
	of   *memory
	held int64 // guarded by of.mu
}

// buffer is memory for one part.
type buffer struct {
	bytes []byte
	share *share
}

// take returns a buffer of size bytes. A share that holds nothing gets it at
// once, however large: its upload could not go on without. Otherwise take waits
// until the limit allows it.
func (s *share) take(ctx context.Context, size int) (*buffer, error) {
	for {
		granted, changed := s.reserve(int64(size))
		if granted {
			return s.allocate(size)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *share) reserve(size int64) (bool, <-chan struct{}) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.held > 0 && s.of.used+size > s.of.limit {
		return false, s.of.changed
	}
	s.held += size
	s.of.used += size
	return true, nil
}

func (s *share) allocate(size int) (*buffer, error) {
	bytes, err := allocate(size)
	if err != nil {
		s.giveBack(int64(size))
		return nil, faultf(KindUnknown, "allocate %d bytes for a part: %w", size, err)
	}
	return &buffer{bytes: bytes, share: s}, nil
}

func (s *share) giveBack(size int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.held -= size
	s.of.used -= size
	close(s.of.changed)
	s.of.changed = make(chan struct{})
}

// release gives the buffer back. Nothing may read it any more.
func (b *buffer) release() {
	size := int64(len(b.bytes))
	free(b.bytes)
	b.bytes = nil
	b.share.giveBack(size)
}
