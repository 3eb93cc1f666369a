package objectstore

import (
	"context"
	"sync"
)

// memory hands out the buffers that hold parts, within a limit that all uploads
// of a store share.
//
// Buffers lie outside Go's heap. There they would double the heap before the
// collector ran; here they cost what is written to them, and are gone when
// nothing is under way any more. Until then they are used again: to touch new
// memory page by page costs more than to fill it.
type memory struct {
	limit int64

	mu      sync.Mutex
	used    int64
	spare   [][]byte      // given back while others were in use, all of one size
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
	if bytes := s.of.reuse(size); bytes != nil {
		return &buffer{bytes: bytes, share: s}, nil
	}
	bytes, err := allocate(size)
	if err != nil {
		s.giveBack(int64(size), nil)
		return nil, faultf(KindUnknown, "allocate %d bytes for a part: %w", size, err)
	}
	return &buffer{bytes: bytes, share: s}, nil
}

// reuse returns a spare buffer of that size, or nil. Spare buffers of another
// size go: beside a new one they would exceed the limit.
func (m *memory) reuse(size int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := len(m.spare) - 1
	if last < 0 || len(m.spare[last]) != size {
		m.drop()
		return nil
	}
	bytes := m.spare[last]
	m.spare = m.spare[:last]
	return bytes
}

// keep takes over a buffer that is not used any more, for the next part if the
// limit allows that. The caller holds mu.
func (m *memory) keep(bytes []byte) {
	if len(m.spare) > 0 && len(m.spare[0]) != len(bytes) {
		m.drop()
	}
	m.spare = append(m.spare, bytes)
	if m.used+int64(len(m.spare)*len(bytes)) > m.limit {
		m.drop()
	}
}

// drop frees the spare buffers. The caller holds mu.
func (m *memory) drop() {
	for _, bytes := range m.spare {
		free(bytes)
	}
	m.spare = nil
}

// giveBack ends a reservation and takes over its buffer, nil if there is none.
func (s *share) giveBack(size int64, bytes []byte) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.held -= size
	s.of.used -= size
	if bytes != nil {
		s.of.keep(bytes)
	}
	if s.of.used == 0 {
		s.of.drop()
	}
	close(s.of.changed)
	s.of.changed = make(chan struct{})
}

// release gives the buffer back. Nothing may read it any more.
func (b *buffer) release() {
	bytes := b.bytes
	b.bytes = nil
	b.share.giveBack(int64(len(bytes)), bytes)
}
