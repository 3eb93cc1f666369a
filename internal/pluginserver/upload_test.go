package pluginserver

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
)

// halting is the stream of an upload that Velero neither goes on with nor ends.
type halting struct {
	generated.ObjectStore_PutObjectServer
	left <-chan struct{}
}

func (h halting) RecvMsg(any) error {
	<-h.left
	return errors.New("Velero has left")
}

// TestFailedUploadThatVeleroDoesNotEnd says what is waited for, and why the upload
// has failed, before Velero can be told.
func TestFailedUploadThatVeleroDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, told := logrustest.NewNullLogger()
		left := make(chan struct{})
		defer close(left)
		body := &uploadBody{first: &generated.PutObjectRequest{Bucket: "b", Key: "k"}, stream: halting{left: left}}
		failed := errors.New("the storage is full")
		begun := time.Now()
		(&objectStoreServer{log: log}).letVeleroFinish(body, failed)
		require.Equal(t, drainLimit, time.Since(begun))

		var messages []string
		for _, e := range told.AllEntries() {
			require.Equal(t, failed, e.Data["error"])
			require.Equal(t, "k", e.Data["key"])
			messages = append(messages, e.Message)
		}
		const waiting = "Upload has failed, and waits for Velero to send the rest of it"
		require.Equal(t, []string{waiting, waiting, "Upload failed, and Velero may report it as EOF"}, messages)
		require.Equal(t, "2m0s", told.AllEntries()[0].Data["endsAfter"])
	})
}

// TestEndOfUpload: an error that wraps io.EOF is no end.
func TestEndOfUpload(t *testing.T) {
	require.NoError(t, (&uploadBody{err: io.EOF}).requireEnd())
	for _, err := range []error{nil, errors.New("Velero has left"), fmt.Errorf("Velero has left: %w", io.EOF)} {
		require.ErrorContains(t, (&uploadBody{err: err}).requireEnd(), "the object is not whole")
	}
}
