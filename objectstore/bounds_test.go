package objectstore

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
	"github.com/stretchr/testify/require"
)

// endless answers with a text that never ends: start, and then more of the rest.
type endless struct {
	status      int
	start, rest string
	pause       time.Duration // between pieces
	sent        atomic.Int64  // bytes of the answer that has most
}

func (e *endless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "1")
	w.WriteHeader(e.status)
	if r.Method == http.MethodHead {
		return
	}
	n, _ := io.WriteString(w, e.start)
	rest := []byte(strings.Repeat(e.rest, max(1, 64<<10/len(e.rest))))
	if e.pause > 0 {
		rest = []byte(e.rest)
	}
	for r.Context().Err() == nil {
		more, err := w.Write(rest)
		if n += more; err != nil {
			break
		}
		if int64(n) > e.bound() {
			time.Sleep(time.Millisecond) // a busy machine notices late
		}
		if e.pause > 0 {
			w.(http.Flusher).Flush()
			time.Sleep(e.pause)
		}
	}
	for {
		most := e.sent.Load()
		if int64(n) <= most || e.sent.CompareAndSwap(most, int64(n)) {
			return
		}
	}
}

// bound is how much of an answer may be held.
func (e *endless) bound() int64 {
	if e.status == 200 {
		return wire.DocumentLimit
	}
	return wire.RefusalLimit
}

const (
	// carried is what the kernel and net/http may hold of an answer that nobody
	// reads any more.
	carried = 8 << 20
	listed  = "<Contents><Key>key</Key></Contents>"
)

// TestEndlessAnswers has a storage whose answers never end. Every call ends in
// time, and holds no more than its bound.
func TestEndlessAnswers(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*endless{
		"a page":        {status: 200, start: "<ListBucketResult>", rest: listed},
		"a key":         {status: 200, start: "<ListBucketResult><Contents><Key>", rest: "k"},
		"empty entries": {status: 200, start: "<ListBucketResult>", rest: "<Contents/>"},
		"depth":         {status: 200, start: "<ListBucketResult>", rest: "<a>"},
		"an error":      {status: 403, start: "<Error><Code>AccessDenied</Code><Message>", rest: "no "},
		"a failure":     {status: 500, start: "", rest: "no "},
		"a redirect":    {status: 301, start: "", rest: "no "},
		"by the byte":   {status: 200, start: "<ListBucketResult>", rest: " ", pause: 200 * time.Millisecond},
		"a slow error":  {status: 403, start: "<Error>", rest: " ", pause: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openAt(t, serve(t, e.ServeHTTP), map[string]string{"deleteVersions": "true"})
			within(t, time.Minute, func() {
				for op, err := range everyCall(t.Context(), store, "bucket") {
					if e.status == 200 && (op == s3err.OpGet || op == s3err.OpExists) {
						continue // an object is of any length, and a HEAD has no answer
					}
					require.Error(t, err, op)
					require.Less(t, len(err.Error()), 2000, op)
				}
				require.Error(t, store.PutObject(t.Context(), "bucket", "key", bytes.NewReader(content(6<<20, 1))))
			})
			require.Less(t, e.sent.Load(), e.bound()+carried)
		})
	}
}

// TestEndlessHeader has headers that never end, all at once or by the line.
func TestEndlessHeader(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"at once": 0, "by the line": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				line := []byte("X-Line: " + strings.Repeat("x", 1000) + "\r\n")
				for n := int64(0); err == nil; n += int64(len(line)) {
					sent.Store(max(sent.Load(), n))
					_, err = conn.Write(line)
					time.Sleep(pause)
				}
			}), nil)
			within(t, time.Minute, func() {
				for op, err := range everyCall(t.Context(), store, "bucket") {
					require.Error(t, err, op)
					require.Less(t, len(err.Error()), 2000, op)
				}
			})
			require.Less(t, sent.Load(), int64(wire.HeaderLimit+carried))
		})
	}
}

// TestManyNames has listings that go on for ever and always bring new names, of which
// most may have no length.
func TestManyNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entries string // of a page, beside a new name
		pages   int
	}{
		"long":    {strings.Repeat("<Contents><Key>"+strings.Repeat("k", 900)+"</Key></Contents>", 1000), 70},
		"of zero": {strings.Repeat("<Contents/>", 400_000), 10},
		"of one":  {strings.Repeat("<Contents><Key>k</Key></Contents>", 120_000), 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := 0
			store := openAt(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				page++
				truncated := page < 2*c.pages
				fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>%d</NextContinuationToken><Contents><Key>l%06d</Key></Contents>", truncated, page, page)
				_, _ = io.WriteString(w, c.entries+"</ListBucketResult>")
			}), map[string]string{"requestTimeout": "20s", "stallTimeout": "20s"})
			_, err := store.ListObjects(t.Context(), "bucket", "")
			require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
			require.ErrorContains(t, err, "the names of the listing take more than")
			require.Less(t, page, c.pages)
		})
	}
}
