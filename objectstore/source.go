package objectstore

import (
	"context"
	"errors"
	"io"
	"slices"
)

// source reads the body of an upload part by part, and knows after each part
// whether there is another one.
type source struct {
	body  io.Reader
	ahead []byte // read, and not yet given out
	size  int64  // read so far
}

const (
	// readClip bounds each read: a body that buffers what is asked for would
	// hold a second copy of the part.
	readClip = 64 << 10
	// emptyReads is how many reads in a row may give neither data nor an error.
	emptyReads = 100
)

// fill reads into buf until it is full or the body ends. more tells whether the
// body goes on. Any error of the body but io.EOF is an error: half a body must
// never look whole.
func (s *source) fill(ctx context.Context, buf []byte) (n int, more bool, err error) {
	n = copy(buf, s.ahead)
	s.ahead = s.ahead[n:]
	for n < len(buf) {
		got, err := s.read(ctx, buf[n:min(len(buf), n+readClip)])
		n += got
		if errors.Is(err, io.EOF) {
			return n, false, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	if len(s.ahead) > 0 {
		return n, true, nil
	}
	more, err = s.peek(ctx)
	return n, more, err
}

// unread has the bytes that fill read last, into the whole of buf, read again.
func (s *source) unread(buf []byte) {
	s.ahead = slices.Concat(buf, s.ahead)
}

// peek tells whether the body holds another byte.
func (s *source) peek(ctx context.Context) (bool, error) {
	one := make([]byte, 1)
	n, err := s.read(ctx, one)
	s.ahead = one[:n]
	if n == 1 || errors.Is(err, io.EOF) {
		return n == 1, nil
	}
	return false, err
}

// read reads at least one byte, or fails. The error io.EOF itself is the end of
// the body; wrapped in something else it is a failure.
func (s *source) read(ctx context.Context, p []byte) (int, error) {
	for range emptyReads {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := s.body.Read(p)
		s.size += int64(n)
		switch {
		case err == io.EOF && n > 0:
			return n, nil // the next read gives io.EOF again
		case err == io.EOF:
			return 0, io.EOF
		case err != nil:
			return n, faultf(KindBody, "read the body after %d bytes: %w", s.size, notEOF{err})
		case n > 0:
			return n, nil
		}
	}
	return 0, faultf(KindBody, "read the body after %d bytes: %w", s.size, io.ErrNoProgress)
}

// notEOF keeps a body's failure from being taken for its end further up.
type notEOF struct{ error }
