package pluginserver

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"golang.org/x/sync/semaphore"
)

const (
	// messageSize is the size, in bytes, of the content in a message of a
	// download: with its headers a message fills one HTTP/2 frame of 16 KiB.
	// From 64 KiB on a message does not fit the window that Velero grants, and
	// costs twice the processor time.
	messageSize = 16<<10 - 16
	// downloadsAtOnce bounds the memory and the connections that downloads use.
	downloadsAtOnce = 32
	// takeLimit bounds how long Velero may take nothing of a download. Velero
	// does not tell a plugin that it has closed a download before its end
	// (Velero, pkg/plugin/framework/object_store_client.go).
	takeLimit = 3 * time.Minute
)

// downloads serves GetObject. Only so many downloads run at once; the
// others wait until one of them has ended.
type downloads struct {
	atOnce    *semaphore.Weighted
	takeLimit time.Duration
}

func newDownloads() *downloads {
	return &downloads{atOnce: semaphore.NewWeighted(downloadsAtOnce), takeLimit: takeLimit}
}

// serve sends an object to Velero. Where Velero takes nothing for too long it
// returns an error, and the end of the call then ends the sending, which closes
// the object.
func (d *downloads) serve(store ObjectStore, req *generated.GetObjectRequest, stream generated.ObjectStore_GetObjectServer) error {
	if err := d.atOnce.Acquire(stream.Context(), 1); err != nil {
		return fmt.Errorf("get object %q from bucket %q: Velero left while %d other downloads were under way: %w",
			req.Key, req.Bucket, downloadsAtOnce, err)
	}
	timed := newTimedStream(stream, d.takeLimit)
	sent := make(chan error, 1)
	go func() {
		defer d.atOnce.Release(1)
		sent <- open(store, req, timed)
	}()
	select {
	case err := <-sent:
		return err
	case <-timed.timer.C:
		return fmt.Errorf("get object %q from bucket %q: Velero took nothing of it for %v", req.Key, req.Bucket, d.takeLimit)
	}
}

// open opens the object and sends it.
func open(store ObjectStore, req *generated.GetObjectRequest, stream generated.ObjectStore_GetObjectServer) (err error) {
	defer recoverInto(&err)
	body, err := store.GetObject(stream.Context(), req.Bucket, req.Key)
	if err != nil {
		return err
	}
	defer body.Close()
	return send(stream, body)
}

// send copies body to Velero, until io.EOF. It reads many messages at once,
// since each read may be a system call.
func send(stream generated.ObjectStore_GetObjectServer, body io.Reader) error {
	block := make([]byte, 16*messageSize)
	for {
		n, readErr := fill(block, body)
		for message := range slices.Chunk(block[:n], messageSize) {
			if err := stream.Send(&generated.Bytes{Data: message}); err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// fill reads until chunk is full. It returns the error of body as it is.
func fill(chunk []byte, body io.Reader) (n int, err error) {
	for n < len(chunk) && err == nil {
		var more int
		more, err = body.Read(chunk[n:])
		n += more
	}
	return n, err
}

// timedStream is a stream whose timer fires when Velero did not take a message
// within the limit.
type timedStream struct {
	generated.ObjectStore_GetObjectServer
	limit time.Duration
	timer *time.Timer
}

func newTimedStream(stream generated.ObjectStore_GetObjectServer, limit time.Duration) timedStream {
	timer := time.NewTimer(limit)
	timer.Stop()
	return timedStream{ObjectStore_GetObjectServer: stream, limit: limit, timer: timer}
}

// Send implements generated.ObjectStore_GetObjectServer.
func (s timedStream) Send(message *generated.Bytes) error {
	s.timer.Reset(s.limit)
	defer s.timer.Stop()
	return s.ObjectStore_GetObjectServer.Send(message)
}
