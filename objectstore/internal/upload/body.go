package upload

import (
	"context"
	"io"
	"slices"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// body reads what is uploaded part by part, and knows after each part
// whether there is another one.
type body struct {
	from  io.Reader
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
func (b *body) fill(ctx context.Context, buf []byte) (n int, more bool, err error) {
	n = copy(buf, b.ahead)
	b.ahead = b.ahead[n:]
	for n < len(buf) {
		got, err := b.read(ctx, buf[n:min(len(buf), n+readClip)])
		n += got
		if err == io.EOF { //nolint:errorlint // see read
			return n, false, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	if len(b.ahead) > 0 {
		return n, true, nil
	}
	more, err = b.peek(ctx)
	return n, more, err
}

// unread has the bytes that fill read last, into the whole of buf, read again.
func (b *body) unread(buf []byte) {
	b.ahead = slices.Concat(buf, b.ahead)
}

// peek tells whether the body holds another byte.
func (b *body) peek(ctx context.Context) (bool, error) {
	one := make([]byte, 1)
	n, err := b.read(ctx, one)
	b.ahead = one[:n]
	if n == 1 || err == io.EOF { //nolint:errorlint // see read
		return n == 1, nil
	}
	return false, err
}

// read reads at least one byte, or fails. The error io.EOF itself is the end of
// the body; wrapped in something else it is a failure.
func (b *body) read(ctx context.Context, p []byte) (int, error) {
	for range emptyReads {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := b.from.Read(p)
		b.size += int64(n)
		switch {
		case err == io.EOF && n > 0:
			return n, nil // the next read gives io.EOF again
		case err == io.EOF:
			return 0, io.EOF
		case err != nil:
			return n, s3err.Errorf(s3err.Body, "read the body after %d bytes: %w", b.size, notEOF{err})
		case n > 0:
			return n, nil
		}
	}
	return 0, s3err.Errorf(s3err.Body, "read the body after %d bytes: %w", b.size, io.ErrNoProgress)
}

// notEOF keeps a body's failure from being taken for its end further up.
type notEOF struct{ error }
