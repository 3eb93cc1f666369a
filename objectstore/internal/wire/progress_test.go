package wire

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestStalledUpload has a server that takes a connection and reads nothing. A body
// that the kernel takes whole is then as stalled as one that it does not.
func TestStalledUpload(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	for name, c := range map[string]struct {
		size   int
		limits Limits
		want   string
	}{
		"in the kernel": {64 << 10, Limits{Answer: 3 * time.Second, Stall: time.Minute}, "no progress for 3.5s while waiting for the storage's answer"},
		"before it":     {64 << 20, Limits{Answer: time.Minute, Stall: 3 * time.Second}, "no progress for 3s while sending the body: the storage takes no more data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, told := logrustest.NewNullLogger()
			way := newProgress(&account.Settings{}, c.limits, log)
			way.slowest, way.notice = 128<<10, 100*time.Millisecond
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+listener.Addr().String(), bytes.NewReader(make([]byte, c.size)))
			require.NoError(t, err)
			resp, err := way.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Equal(t, s3err.Timeout, s3err.KindOf(err), "%v", err)
			require.ErrorContains(t, err, c.want)
			require.NotNil(t, told.LastEntry(), "the wait is told of before it ends")
			_, step, _ := strings.Cut(c.want, " while ")
			require.Equal(t, "S3 request is waiting: "+step, told.LastEntry().Message)
		})
	}
}
