package wire

import (
	"bytes"
	"net"
	"net/http"
	"testing"
	"time"

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
		"in the kernel": {64 << 10, Limits{Answer: time.Second, Stall: time.Minute}, "no progress for 1.5s while waiting for the storage's answer"},
		"before it":     {64 << 20, Limits{Answer: time.Minute, Stall: time.Second}, "no progress for 1s while sending the body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			way := newProgress(&account.Settings{}, c.limits)
			way.slowest = 128 << 10
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+listener.Addr().String(), bytes.NewReader(make([]byte, c.size)))
			require.NoError(t, err)
			resp, err := way.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Equal(t, s3err.Timeout, s3err.KindOf(err), "%v", err)
			require.ErrorContains(t, err, c.want)
		})
	}
}
