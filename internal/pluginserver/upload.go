package pluginserver

import (
	"errors"
	"io"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"

	"github.com/longshore-dev/velero-plugin/internal/waits"
)

// drainLimit bounds how long a failed upload goes on reading what Velero sends.
// Velero sends from a local file, at hundreds of MiB a second.
const drainLimit = 2 * time.Minute

// uploadBody reads an upload from its stream of messages. It holds one message
// at a time, whatever the size of the read.
type uploadBody struct {
	// first names plugin, bucket and key, as every message does.
	first  *generated.PutObjectRequest
	stream generated.ObjectStore_PutObjectServer
	last   content // the last message received, behind the first
	unread []byte
	err    error // why there are no more messages, io.EOF at the end
}

// openBody receives the first message.
func openBody(stream generated.ObjectStore_PutObjectServer) (*uploadBody, error) {
	first, err := stream.Recv()
	return &uploadBody{first: first, stream: stream, unread: first.GetBody(), err: err}, err
}

// Read gives io.EOF when Velero has ended the body, and any other error when
// Velero failed or left.
func (b *uploadBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.unread) == 0 {
		if err := b.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

func (b *uploadBody) receive() error {
	if b.err != nil {
		return b.err
	}
	b.unread = nil
	if b.err = b.stream.RecvMsg(&b.last); b.err != nil {
		b.last.free()
		return b.err
	}
	b.unread = b.last.body
	return nil
}

// requireEnd returns an error when the body was not read to its end, in which
// case no upload of it is whole.
func (b *uploadBody) requireEnd() error {
	if b.err == io.EOF { //nolint:errorlint // the end is io.EOF itself; a failure may wrap one
		return nil
	}
	return errors.New("put object: the upload ended before the body did; the object is not whole")
}

// drain drops what is left of the body. It returns false when that took longer
// than limit; the body must not be used any more then.
func (b *uploadBody) drain(limit time.Duration, log logrus.FieldLogger) bool {
	done, over := make(chan error, 1), make(chan struct{})
	w := waits.Watch{First: waits.FirstNotice, Tell: waits.Logged(log, "Upload has failed, and waits for "), End: func(string, time.Duration) { close(over) }}
	w.Expect("Velero to send the rest of it", limit)
	defer w.Stop()
	go func() { done <- b.receiveAll() }()
	select {
	case err := <-done:
		return errors.Is(err, io.EOF)
	case <-over:
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
