package objectstore

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
)

// TestLog reads what the operations of a store log: a summary of each at info, a
// line for each request at debug.
func TestLog(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	log, lines := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	s, err := Open(t.Context(), log, real.config(t, bucket, map[string]string{"signatureVersion": "1", "enableSharedConfig": "true"}))
	require.NoError(t, err)
	requireLine(t, lines, logrus.WarnLevel, "Ignoring signatureVersion: requests and URLs are signed with version 4")
	requireLine(t, lines, logrus.InfoLevel, "Ignoring enableSharedConfig: shared config is always read")

	mustPut(t, s, bucket, "dir/key", []byte("content"))
	summary := requireLine(t, lines, logrus.InfoLevel, "Stored object")
	require.Equal(t, logrus.Fields{"bucket": bucket, "key": "dir/key", "bytes": int64(7), "parts": 1}, without(summary.Data, "duration", "rate"))
	request := requireLine(t, lines, logrus.DebugLevel, "S3 request")
	address, err := url.Parse(real.endpoint)
	require.NoError(t, err)
	require.Equal(t, logrus.Fields{"method": "PUT", "host": address.Host, "path": "/" + bucket + "/dir/key", "status": 200, "attempt": 1},
		without(request.Data, "duration", "requestID"))
	require.NotEmpty(t, request.Data["requestID"])

	readAll(t.Context(), t, s, bucket, "dir/key")
	require.Equal(t, "CRC32C", requireLine(t, lines, logrus.InfoLevel, "Read object").Data["verified"])
	require.NoError(t, s.DeleteObject(t.Context(), bucket, "dir/key"))
	requireLine(t, lines, logrus.InfoLevel, "Deleted object")
}

// requireLine returns the first line with the message.
func requireLine(t *testing.T, lines *logtest.Hook, level logrus.Level, message string) *logrus.Entry {
	t.Helper()
	for _, line := range lines.AllEntries() {
		if line.Message == message {
			require.Equal(t, level, line.Level)
			return line
		}
	}
	require.Fail(t, "not logged: "+message)
	return nil
}

func without(fields logrus.Fields, keys ...string) logrus.Fields {
	left := logrus.Fields{}
	for name, value := range fields {
		left[name] = value
	}
	for _, key := range keys {
		delete(left, key)
	}
	return left
}

// TestSignedURLsLive asks for lives that S3 does not know.
func TestSignedURLsLive(t *testing.T) {
	s, err := openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "ACCESS", newSecret())})
	require.NoError(t, err)
	for ttl, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Second, 0: time.Second, time.Millisecond: time.Second, 10 * time.Minute: 10 * time.Minute, 1000 * time.Hour: 7 * 24 * time.Hour,
	} {
		address, err := s.CreateSignedURL(t.Context(), "bucket", "key", ttl)
		require.NoError(t, err)
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(int(want/time.Second)), parsed.Query().Get("X-Amz-Expires"))
	}
}
