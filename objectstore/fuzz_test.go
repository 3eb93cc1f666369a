package objectstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/download"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// fuzzed has one store for all inputs of a fuzz target, and its server's behaviour
// changed for each.
type fuzzed struct {
	*Store
	mu      sync.Mutex
	handler http.HandlerFunc
}

func newFuzzed(f *testing.F, more map[string]string) *fuzzed {
	z := &fuzzed{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z.mu.Lock()
		handler := z.handler
		z.mu.Unlock()
		handler(w, r)
	}))
	f.Cleanup(server.Close)
	z.Store = openAt(f, server.URL, more)
	z.client.FirstPause = 2 * time.Microsecond
	z.uploader.ProofTime = time.Millisecond
	return z
}

func (z *fuzzed) serve(handler http.HandlerFunc) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.handler = handler
}

// The ways in which an answer of FuzzDownload may be framed.
const (
	withLength = iota
	chunkedBody
	closedBody
	zippedBody
	framings
)

// FuzzDownload has a server that breaks off where it likes, frames its answers in
// any way, and lies about ranges. What is read, as one stream or in ranges, is the
// object whole, or there is an error; and where the server tells the truth in the
// end, it is no error.
func FuzzDownload(f *testing.F) {
	f.Add(1000, 10, 500, 0, 0, 0, 0, 0)
	f.Add(5000, 4999, 1, 1, 0, 0, 1, 0)
	f.Add(70000, 65536, 3, 0, 1, 1, 2, 0)
	f.Add(0, 0, 0, 0, 0, 1, 1, 0)
	f.Add(40000, 20000, 0, 0, 0, 2, 0, 0)
	f.Add(40000, 40000, 0, 0, 0, 3, 0, 0)
	f.Add(40000, 20000, 0, 2, 0, 0, 1, 0) // the rest begins too early, of an object without a checksum
	f.Add(40000, 40000, 0, 2, 0, 0, 1, 4)
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		f.Add(random.IntN(100_000), random.IntN(100_000), random.IntN(100_000), max(0, random.IntN(8)-5), random.IntN(4)/3, random.IntN(framings), random.IntN(3), random.IntN(6))
	}
	z := newFuzzed(f, map[string]string{"maxRetries": "5"})
	f.Fuzz(func(t *testing.T, size, cut1, cut2, shift, grow, framing, kind, atOnce int) {
		d := &deceiver{
			object: []func([]byte) *object{ours, foreign, inParts}[bound(kind, 3)](content(bound(size, 100_000), 7)),
			shift:  []int{0, 1, -1, 2, -2}[bound(shift, 5)], grow: bound(grow, 3), framing: bound(framing, framings),
		}
		d.cuts = []int{bound(cut1, len(d.data)+1), bound(cut2, len(d.data)+1)}
		z.downloader.Ranges = download.Ranges{
			Head: 10_000, Size: 4000, AtOnce: bound(atOnce, 6), Late: time.Minute, Memory: semaphore.NewWeighted(20_000),
		}
		z.serve(d.serve)
		got, err := readKey(t.Context(), z.Store)
		if err == nil {
			require.True(t, bytes.Equal(d.data, got), "%d bytes of %d", len(got), len(d.data))
			return
		}
		d.mu.Lock() // an answer that nobody waits for any more may still be written
		lied := d.lied && (d.shift != 0 || d.grow > 0)
		d.mu.Unlock()
		require.True(t, lied, "the server told the truth: %v", err)
		require.Contains(t, []s3err.Kind{s3err.Changed, s3err.NotS3, s3err.Corrupt, s3err.Unreachable, s3err.Unsupported, s3err.NotConfirmed}, KindOf(err), "%v", err)
	})
}

func bound(n, limit int) int {
	if n < 0 {
		n = -(n + 1)
	}
	return n % max(limit, 1)
}

// deceiver serves an object. Its first answers are cut, those to the whole object
// are framed in its way, and those to a range may be shifted, or claim another
// size.
type deceiver struct {
	*object
	cuts        []int
	shift, grow int
	framing     int

	mu    sync.Mutex
	calls int
	lied  bool
}

func (d *deceiver) serve(w http.ResponseWriter, r *http.Request) {
	switch ranged, whole := r.Header.Get("Range"), len(d.data); {
	case r.URL.Query().Has("prefix"):
		_, _ = fmt.Fprintf(w, "<ListBucketResult><Contents><Key>key</Key><Size>%d</Size></Contents></ListBucketResult>", whole)
	case r.Method == http.MethodHead, ranged == "bytes=0-0":
		d.ServeHTTP(w, r)
	case ranged != "":
		var first, last int
		_, _ = fmt.Sscanf(ranged, "bytes=%d-%d", &first, &last)
		d.part(w, first, last+1)
	default:
		d.whole(w)
	}
}

// next returns where the next answer of so many bytes is cut.
func (d *deceiver) next(size int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.calls <= len(d.cuts) {
		return min(size, d.cuts[d.calls-1])
	}
	return size
}

func (d *deceiver) part(w http.ResponseWriter, from, end int) {
	whole := len(d.data)
	from, end = max(0, min(from+d.shift, whole)), max(0, min(end+d.shift, whole))
	d.mu.Lock()
	d.lied = true
	d.mu.Unlock()
	for name, values := range d.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, end-1, whole+d.grow))
	w.Header().Set("Content-Length", strconv.Itoa(end-from))
	w.WriteHeader(http.StatusPartialContent)
	d.cut(w, d.data[from:end])
}

// cut writes the data, and breaks the connection where it is cut.
func (d *deceiver) cut(w http.ResponseWriter, data []byte) {
	n := d.next(len(data))
	_, _ = w.Write(data[:n])
	if n < len(data) {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (d *deceiver) whole(w http.ResponseWriter) {
	for name, values := range d.header {
		w.Header()[name] = values
	}
	switch d.framing {
	case chunkedBody: // ended properly, wherever it is cut
		w.(http.Flusher).Flush()
		_, _ = w.Write(d.data[:d.next(len(d.data))])
	case closedBody:
		raw(w, "HTTP/1.0", d.header, d.data[:d.next(len(d.data))])
	case zippedBody:
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = zip.Write(d.data[:d.next(len(d.data))])
		_ = zip.Close()
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(d.data)))
		d.cut(w, d.data)
	}
}

// FuzzListing has a server that lists names in any order and in pages of any size,
// fails in between, and cuts pages: the listing is complete, or there is an error.
func FuzzListing(f *testing.F) {
	f.Add("a/1,a/2,b/1,b/2", uint64(1), 2, 0, 0, false)
	f.Add("b,a,d,c,e", uint64(2), 1, 2, 30, true)
	f.Add("x y,x+y,x%y,é,\u2028,<&>", uint64(3), 3, 1, 0, false)
	f.Add("", uint64(4), 1, 0, 0, true)
	z := newFuzzed(f, map[string]string{"maxRetries": "8"})
	f.Fuzz(func(t *testing.T, text string, seed uint64, size, fail, cut int, v1 bool) {
		names := distinct(text)
		random := rand.New(rand.NewPCG(seed, seed))
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		lister := &pageServer{names: names, size: 1 + bound(size, 5), fail: bound(fail, 4), cut: bound(cut, 400), v1: v1}
		z.serve(lister.serve)
		got, err := z.ListObjects(t.Context(), "bucket", "")
		require.NoError(t, err)
		want := slices.Sorted(slices.Values(names))
		slices.Reverse(want)
		require.Equal(t, want, got)
	})
}

// distinct are the different names in a text that a key may have.
func distinct(text string) []string {
	var names []string
	for _, name := range strings.Split(strings.ToValidUTF8(text, "?"), ",") {
		if name != "" && len(names) < 30 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// pageServer lists names in its order. Each page is at first refused so many times
// and then, once, cut after so many bytes.
type pageServer struct {
	names     []string
	size      int
	fail, cut int
	v1        bool

	mu       sync.Mutex
	requests map[string]int
}

func (p *pageServer) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if p.v1 && query.Get("list-type") == "2" {
		answer(501, "NotImplemented")(w, r, nil)
		return
	}
	p.mu.Lock()
	if p.requests == nil {
		p.requests = map[string]int{}
	}
	p.requests[r.URL.RawQuery]++
	request := p.requests[r.URL.RawQuery]
	p.mu.Unlock()
	if request <= p.fail {
		answer(503, "SlowDown")(w, r, nil)
		return
	}
	page := p.page(query.Get("continuation-token") + query.Get("marker"))
	if request == p.fail+1 && p.cut > 0 && p.cut < len(page) {
		raw(w, "HTTP/1.0", http.Header{"X-Amz-Request-Id": {"1"}}, []byte(page[:p.cut]))
		return
	}
	_, _ = io.WriteString(w, page)
}

func (p *pageServer) page(place string) string {
	from := 0
	if _, number, found := strings.Cut(place, "place-"); found {
		from, _ = strconv.Atoi(number)
	}
	end := min(from+p.size, len(p.names))
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated>", end < len(p.names))
	if end < len(p.names) {
		fmt.Fprintf(&b, "<NextContinuationToken>place-%d</NextContinuationToken><NextMarker>place-%d</NextMarker>", end, end)
	}
	for _, name := range p.names[from:end] {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key></Contents>", urlEncode(name))
	}
	return b.String() + "</ListBucketResult>"
}

// urlEncode encodes a key as S3 does for encoding-type=url.
func urlEncode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		fmt.Fprintf(&b, "%%%02X", name[i])
	}
	return b.String()
}

// FuzzAnswers gives any answer to any request. Nothing panics or hangs, no text
// that leaves is long or holds a control character, and nothing is taken for done:
// an upload is an error unless the answer has its MD5, a listing unless it is one.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "application/xml", "", "<ListBucketResult></ListBucketResult>")
	f.Add(200, "application/xml", "gzip", "\x1f\x8b\b\x00")
	f.Add(403, "application/xml", "", "<Error><Code>AccessDenied</Code><Message>\u202eno\x00</Message></Error>")
	f.Add(403, "application/xml", "", "<Error><Code>AccessDenied</Code><Message>\u202eno\u2066</Message></Error>")
	f.Add(404, "text/html", "", "<html>not found, NoSuchKey</html>")
	f.Add(500, "", "", "<Error><Code>InternalError</Code>")
	f.Add(301, "", "br", "")
	f.Add(206, "text/plain", "", "x")
	f.Add(202, "", "", "<A>")
	f.Add(200, "application/xml", "", "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
	z := newFuzzed(f, map[string]string{"maxRetries": "1", "deleteVersions": "true"})
	f.Fuzz(func(t *testing.T, status int, kind, encoding, body string) {
		z.serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", headerValue(kind))
			if encoding != "" {
				w.Header().Set("Content-Encoding", headerValue(encoding))
			}
			w.WriteHeader(200 + bound(status-200, 400))
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, body)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		calls := everyCall(ctx, z.Store, "bucket")
		require.Error(t, calls[s3err.OpPut])
		require.Error(t, z.PutObject(ctx, "bucket", "key", bytes.NewReader(content(100_000, 1))))
		if err := calls[s3err.OpList]; err == nil {
			require.Contains(t, body, "ListBucketResult")
		}
		require.NoError(t, ctx.Err(), "a call hung")
		for op, err := range calls {
			requireFit(t, op, err)
		}
	})
}

// requireFit demands an error that may leave.
func requireFit(t *testing.T, op string, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	require.Less(t, len(text), 6000, op)
	for _, r := range text {
		require.False(t, r < ' ' || r == '\u202e' || r == '\u2066', "%s: %q", op, text)
	}
	if op == s3err.OpGet && KindOf(err) != s3err.NotFound {
		require.NotRegexp(t, "(?i)not found|does not exist|nosuchkey", text)
	}
}

// headerValue is what of a text may stand in a header.
func headerValue(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text[:min(len(text), 100)])
}
