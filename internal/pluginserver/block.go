package pluginserver

import (
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

const (
	// chunkSize is the size, in bytes, of the messages of a download: with its
	// headers a message fills one HTTP/2 frame of 16 KiB. From 64 KiB on a message
	// does not fit the window that Velero grants, and costs twice the processor time.
	chunkSize = 16<<10 - 16
	// blockSize is the size, in bytes, in which a download is read: with messages
	// alone each would cost a system call.
	blockSize = 16 * chunkSize
)

// block is a piece of a download in memory. Its messages share the memory, which
// is used again when gRPC has sent the last one.
type block struct {
	bytes  [blockSize]byte
	length int
	unsent atomic.Int32
}

var blocks = sync.Pool{New: func() any { return new(block) }}

func newBlock() *block { return blocks.Get().(*block) }

// fill reads until at most a message has no room any more. It returns the error
// of the body as it is, beside what was read before.
func (b *block) fill(body io.Reader) (err error) {
	b.length = 0
	for b.length <= blockSize-chunkSize && err == nil {
		var n int
		n, err = body.Read(b.bytes[b.length:])
		b.length += n
	}
	return err
}

// messages returns what was read as messages, none if there is nothing.
func (b *block) messages() []*downloadMessage {
	var all []*downloadMessage
	for from := 0; from < b.length; from += chunkSize {
		piece := b.bytes[from:min(from+chunkSize, b.length)]
		all = append(all, &downloadMessage{data: mem.NewBuffer(&piece, b)})
	}
	b.unsent.Store(int32(len(all))) //nolint:gosec // at most 16
	if len(all) == 0 {
		blocks.Put(b)
	}
	return all
}

// Get implements mem.BufferPool, and is never called: gRPC only gives memory
// back.
func (b *block) Get(length int) *[]byte { return mem.DefaultBufferPool().Get(length) }

// Put implements mem.BufferPool. It ends a message's use of the block.
func (b *block) Put(*[]byte) {
	if b.unsent.Add(-1) == 0 {
		blocks.Put(b)
	}
}
