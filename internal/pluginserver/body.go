package pluginserver

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
)

// drainLimit bounds how long a failed upload goes on reading what Velero sends.
// Velero sends from a local file, at hundreds of MiB a second.
const drainLimit = 2 * time.Minute

// uploadBody reads an upload from its stream of messages. It holds one message
// at a time, whatever the size of the read.
type uploadBody struct {
	stream  grpc.ServerStream
	message uploadMessage
	err     error // why there are no more messages, io.EOF at the end
}

// openBody receives the first message, which names bucket and key as every one
// of them does.
func openBody(stream grpc.ServerStream) (*uploadBody, error) {
	body := &uploadBody{stream: stream}
	return body, body.receive()
}

// Read gives io.EOF when Velero has ended the body, and any other error when
// Velero failed or left.
func (b *uploadBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.message.body) == 0 {
		if err := b.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.message.body)
	b.message.body = b.message.body[n:]
	return n, nil
}

func (b *uploadBody) receive() error {
	b.message.release()
	if b.err == nil {
		b.err = b.stream.RecvMsg(&b.message)
	}
	return b.err
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
