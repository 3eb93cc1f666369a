package wire

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

// TestUsage has one line tell of requests that succeed, fail, are made again, and are
// not answered.
func TestUsage(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "content")
		}
	}))
	defer server.Close()
	log, lines := logtest.NewNullLogger()
	u := &usage{}
	u.log(log)
	require.Empty(t, lines.AllEntries(), "nothing was asked")
	way := requestLog{next: newProgress(&account.Settings{}, Limits{Answer: time.Minute, Stall: time.Minute}, nil), log: log, used: u}
	ask := func(method, address, body string, attempt int) {
		t.Helper()
		req, err := http.NewRequestWithContext(WithAttempt(t.Context(), attempt), method, address, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := way.RoundTrip(req)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, errors.Join(resp.Body.Close(), resp.Body.Close()), "closed twice it counts once")
	}
	ask(http.MethodPut, server.URL+"/b/k", "four", 1)
	ask(http.MethodPut, server.URL+"/b/k", "four", 2)
	ask(http.MethodPut, server.URL+"/b/k?partNumber=1&uploadId=x", "part", 1)
	ask(http.MethodGet, server.URL+"/b/k", "", 1)
	ask(http.MethodGet, server.URL+"/b/?list-type=2&prefix=a", "", 1)
	ask(http.MethodHead, server.URL+"/b/k", "", 1)
	closed := httptest.NewServer(nil)
	closed.Close()
	ask(http.MethodDelete, closed.URL+"/b/k", "", 3)
	u.log(log)
	line := lines.LastEntry()
	require.Equal(t, "S3 requests of this process", line.Message)
	require.Equal(t, logrus.InfoLevel, line.Level)
	require.Equal(t, 7, line.Data["requests"])
	require.Equal(t, 2, line.Data["retries"])
	require.EqualValues(t, 12, line.Data["bytesSent"])
	require.EqualValues(t, 14, line.Data["bytesReceived"])
	require.Regexp(t, `^DeleteObject: 1 in \d+\w+, 1 again; GetObject: 1 in \d+\w+, 7 bytes received; Head: 1 in \d+\w+; List: 1 in \d+\w+, 7 bytes received; `+
		`PutObject: 2 in \d+\w+, 1 again, 8 bytes sent; UploadPart: 1 in \d+\w+, 4 bytes sent$`, line.Data["operations"])
}

// TestOperations names what is asked of S3; nothing that a server or a user says adds a
// name.
func TestOperations(t *testing.T) {
	for _, c := range [][3]string{
		{"PUT", "/b/k", "PutObject"}, {"GET", "/b/k", "GetObject"}, {"GET", "/b/k?versionId=1", "GetObject"}, {"HEAD", "/b", "Head"},
		{"POST", "/b/k?uploads=", "CreateMultipartUpload"}, {"POST", "/b/k?uploadId=x", "CompleteMultipartUpload"}, {"DELETE", "/b/k?uploadId=x", "AbortMultipartUpload"},
		{"GET", "/b?versions=&prefix=a", "List"}, {"GET", "/b?uploads=", "List"}, {"GET", "/b/k?uploadId=x", "List"}, {"DELETE", "/b/k?versionId=1", "DeleteObject"},
		{"GET", "/b?object-lock=", "other"}, {"PUT", "/b?policy=", "other"}, {"PATCH", "/b/k", "other"},
	} {
		require.Equal(t, c[2], operationOf(httptest.NewRequest(c[0], c[1], nil)), c)
	}
	copied := httptest.NewRequest(http.MethodPut, "/b/k", nil)
	copied.Header.Set("X-Amz-Copy-Source", "/b/other")
	require.Equal(t, "CopyObject", operationOf(copied))
}
