package pluginserver

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"

	"github.com/longshore-dev/velero-plugin/internal/waits"
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
	atOnce    *waits.Queue
	takeLimit time.Duration
	log       logrus.FieldLogger
}

func newDownloads(log logrus.FieldLogger) *downloads {
	return &downloads{atOnce: waits.NewQueue(downloadsAtOnce), takeLimit: takeLimit, log: log}
}

// serve sends an object to Velero. Where Velero takes nothing for too long it
// returns an error, and the end of the call then ends the sending, which closes
// the object.
func (d *downloads) serve(store ObjectStore, req *generated.GetObjectRequest, stream generated.ObjectStore_GetObjectServer) error {
	ctx, log := stream.Context(), d.log.WithFields(logrus.Fields{"bucket": req.Bucket, "key": req.Key})
	if err := d.atOnce.Acquire(ctx, 1, log, "Download is waiting for ", fmt.Sprintf("one of %d other downloads to end", downloadsAtOnce)); err != nil {
		return fmt.Errorf("get object %q from bucket %q: %w", req.Key, req.Bucket, err)
	}
	sent, over := make(chan error, 1), make(chan struct{})
	timed := timedStream{ObjectStore_GetObjectServer: stream, limit: d.takeLimit, watch: &waits.Watch{
		First: waits.FirstNotice, Tell: waits.Logged(log, "Download is waiting for "), End: func(string, time.Duration) { close(over) },
	}}
	defer timed.watch.Stop()
	go func() {
		defer d.atOnce.Release(1)
		sent <- open(store, req, timed)
	}()
	select {
	case err := <-sent:
		return err
	case <-over:
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

// blocks are what send reads at once of an object of up to 1 MiB: as much as
// Velero takes without an answer, so that it reads while the plugin does.
var blocks = sync.Pool{New: func() any { return new([4 * messageSize]byte) }}

// send copies body to Velero, until io.EOF. Behind the first MiB it reads more at
// once: each read may be a system call, and of a large object that is most of the
// cost.
func send(stream generated.ObjectStore_GetObjectServer, body io.Reader) error {
	small := blocks.Get().(*[4 * messageSize]byte) //nolint:forcetypeassert // nothing else is in it
	defer blocks.Put(small)
	for block, sent := small[:], 0; ; {
		n, readErr := fill(block, body)
		for message := range slices.Chunk(block[:n], messageSize) {
			if err := stream.Send(&generated.Bytes{Data: message}); err != nil {
				return err
			}
		}
		if readErr == io.EOF { //nolint:errorlint // the end is io.EOF itself; a failure may wrap one
			return nil
		}
		if readErr != nil {
			return readErr
		}
		if sent += n; sent >= 1<<20 && len(block) == len(small) {
			block = make([]byte, 16*messageSize)
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

// timedStream is a stream whose watch ends when Velero did not take a message within
// the limit.
type timedStream struct {
	generated.ObjectStore_GetObjectServer
	limit time.Duration
	watch *waits.Watch
}

// Send implements generated.ObjectStore_GetObjectServer.
func (s timedStream) Send(message *generated.Bytes) error {
	s.watch.Expect("Velero to take more of it", s.limit)
	defer s.watch.Pause()
	return s.ObjectStore_GetObjectServer.Send(message)
}
