package pluginserver

import (
	"errors"
	"io"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
)

// drainLimit bounds how long a failed upload goes on reading what Velero sends.
// Velero sends from a local file, at hundreds of MiB a second.
const drainLimit = 2 * time.Minute

// uploadBody reads the body of an upload from its stream of messages. It holds
// one message at a time, whatever the size of the read.
type uploadBody struct {
	stream generated.ObjectStore_PutObjectServer
	chunk  []byte // what is left of the last message
	err    error  // why there are no more messages, io.EOF at the end
}

// Read gives io.EOF when Velero has ended the body, and any other error when
// Velero failed or left.
func (b *uploadBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.chunk) == 0 {
		if err := b.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

func (b *uploadBody) receive() error {
	if b.err != nil {
		return b.err
	}
	message, err := b.stream.Recv()
	if err != nil {
		b.err = err
		return err
	}
	b.chunk = message.Body
	return nil
}

// requireEnd returns an error when the body was not read to its end, in which
// case no upload of it is whole.
func (b *uploadBody) requireEnd() error {
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return errors.New("put object: the upload ended before the body did; the object is not whole")
}

// drain drops what is left of the body. It returns false when that took longer
// than limit; the body must not be used any more then.
func (b *uploadBody) drain(limit time.Duration) bool {
	done := make(chan error, 1)
	go func() { done <- b.receiveAll() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return errors.Is(err, io.EOF)
	case <-timer.C:
		return false
	}
}

func (b *uploadBody) receiveAll() (err error) {
	defer recoverInto(&err)
	for err == nil {
		err = b.receive()
	}
	return err
}
