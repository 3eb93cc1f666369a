package objectstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// object is what a small server of the tests gives out, as S3 would.
type object struct {
	data   []byte
	header http.Header
}

// ours is an object as the store leaves it when it is written with one request.
func ours(data []byte) *object {
	o := foreign(data)
	o.header.Set("X-Amz-Meta-"+client.CRCName, client.CRC(data))
	return o
}

// foreign is an object that another program has written.
func foreign(data []byte) *object {
	sum := md5.Sum(data)
	h := http.Header{}
	h.Set("Etag", `"`+hex.EncodeToString(sum[:])+`"`)
	h.Set("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
	h.Set("X-Amz-Request-Id", "1")
	return &object{data: data, header: h}
}

// inParts is an object of a multipart upload: nothing tells what it holds.
func inParts(data []byte) *object {
	o := foreign(data)
	o.header.Set("Etag", `"0123456789abcdef0123456789abcdef-2"`)
	return o
}

// ServeHTTP implements http.Handler.
func (o *object) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, values := range o.header {
		w.Header()[name] = values
	}
	if o.header.Get("Content-Encoding") != "" { // http.ServeContent leaves the length out
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		_, _ = w.Write(o.data)
		return
	}
	http.ServeContent(w, r, "", httpTime(o.header.Get("Last-Modified")), bytes.NewReader(o.data))
}

// way is a way by which an answer to GET comes to the store.
type way func(o *object, w http.ResponseWriter, r *http.Request)

// raw sends what net/http's server would never send.
func raw(w http.ResponseWriter, proto string, h http.Header, body []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s 200 OK\r\n", proto)
	_ = h.Write(&head)
	head.WriteString("Connection: close\r\n\r\n")
	_, _ = conn.Write(append(head.Bytes(), body...))
}

// closed drops Content-Length and closes the connection after n bytes, as a proxy
// does that speaks HTTP/1.0.
func closed(n int) way {
	return func(o *object, w http.ResponseWriter, _ *http.Request) {
		raw(w, "HTTP/1.0", o.header, o.data[:n])
	}
}

// chunked drops Content-Length and ends the chunks properly after n bytes.
func chunked(n int) way {
	return func(o *object, w http.ResponseWriter, _ *http.Request) {
		for name, values := range o.header {
			w.Header()[name] = values
		}
		w.(http.Flusher).Flush()
		_, _ = w.Write(o.data[:n])
	}
}

// compressed is a proxy that compresses whatever it is asked for, up to n bytes.
func compressed(n int) way {
	return func(o *object, w http.ResponseWriter, _ *http.Request) {
		for name, values := range o.header {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Etag", "W/"+o.header.Get("Etag"))
		zip := gzip.NewWriter(w)
		_, _ = zip.Write(o.data[:n])
		_ = zip.Close()
	}
}

// behindWay serves the object: the first answers to a GET of all of it come by
// the way, the others as they are, and without the headers.
func behindWay(t testing.TB, o *object, by way, without ...string) *Store {
	gets := 0
	return openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s asks for the encoding %q", r.Method, r.Header.Get("Accept-Encoding"))
		}
		switch {
		case r.URL.Query().Has("prefix"):
			_, _ = fmt.Fprintf(w, "<ListBucketResult><Contents><Key>key</Key><Size>%d</Size></Contents></ListBucketResult>", len(o.data))
		case r.Method == http.MethodGet && r.Header.Get("Range") == "":
			gets++
			by(o, w, r)
		default:
			o.ServeHTTP(&dropping{w, without}, r)
		}
	}), nil)
}

// dropping leaves headers out of an answer.
type dropping struct {
	http.ResponseWriter
	names []string
}

func (d *dropping) WriteHeader(status int) {
	for _, name := range d.names {
		d.Header().Del(name)
		if name == "Content-Length" { // else net/http adds it again
			d.Header().Set("Transfer-Encoding", "chunked")
		}
	}
	d.ResponseWriter.WriteHeader(status)
}

func readKey(ctx context.Context, s *Store) ([]byte, error) {
	body, err := s.GetObject(ctx, "bucket", "key")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// TestEndOfBody has ways that say nothing of a body's length, and cut it or do
// not: what is read is the whole object, or there is an error.
func TestEndOfBody(t *testing.T) {
	t.Parallel()
	data := content(100_000, 3)
	for _, kind := range []struct {
		name string
		make func([]byte) *object
	}{{"ours", ours}, {"foreign", foreign}, {"in parts", inParts}} {
		for name, by := range map[string]way{
			"closed whole": closed(len(data)), "closed early": closed(len(data) / 2), "closed at once": closed(0),
			"chunked whole": chunked(len(data)), "chunked early": chunked(len(data) / 2), "chunked at once": chunked(0),
			"compressed whole": compressed(len(data)),
		} {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				t.Parallel()
				got, err := readKey(t.Context(), behindWay(t, kind.make(data), by))
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got), "%d bytes of %d", len(got), len(data))
			})
		}
	}
}

// TestEndOfBodyWithoutProof has nothing that tells how long the object is: the
// ranges are cut as well, or there are none.
func TestEndOfBodyWithoutProof(t *testing.T) {
	t.Parallel()
	data := content(100_000, 3)
	for name, by := range map[string]way{"closed": closed(len(data) / 2), "chunked": chunked(len(data) / 2), "compressed": compressed(len(data) / 2)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range []*object{ours(data), foreign(data), inParts(data)} {
				address := serve(t, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Query().Has("prefix"):
						_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
					case r.Method == http.MethodHead:
						raw(w, "HTTP/1.0", o.header, nil)
					default:
						by(o, w, r)
					}
				})
				_, err := readKey(t.Context(), openAt(t, address, nil))
				require.Contains(t, []Kind{s3err.NotConfirmed, s3err.Unsupported, s3err.Unreachable}, KindOf(err), "%v", err)
			}
		})
	}
}

// TestLongBody has an answer that goes on behind the object.
func TestLongBody(t *testing.T) {
	t.Parallel()
	data := content(1000, 3)
	for _, o := range []*object{ours(data), foreign(data)} {
		longer := &object{data: append(bytes.Clone(data), 'x'), header: o.header}
		store := behindWay(t, o, func(_ *object, w http.ResponseWriter, r *http.Request) { chunked(len(longer.data))(longer, w, r) })
		_, err := readKey(t.Context(), store)
		require.Equal(t, s3err.Corrupt, KindOf(err), "%v", err)
	}
}

// TestStoredEncoding reads an object that another program has stored compressed,
// which is what the reader wants.
func TestStoredEncoding(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, _ = zip.Write(content(1000, 1))
	require.NoError(t, zip.Close())
	o := foreign(zipped.Bytes())
	o.header.Set("Content-Encoding", "gzip")
	got, err := readKey(t.Context(), openAt(t, serve(t, o.ServeHTTP), nil))
	require.NoError(t, err)
	require.Equal(t, zipped.Bytes(), got)
}

// TestStoredEncodingBehindProxy has a proxy that is starting when it is asked how an object
// is stored: its 404 is not one of the object, which was just given.
func TestStoredEncodingBehindProxy(t *testing.T) {
	t.Parallel()
	o := foreign([]byte("as another program has stored it"))
	o.header.Set("Content-Encoding", "gzip")
	for starting, want := range map[int]s3err.Kind{1: "", 100: s3err.Server} {
		heads := 0
		s := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				if heads++; heads <= starting {
					w.WriteHeader(http.StatusNotFound)
					return
				}
			}
			o.ServeHTTP(w, r)
		}), nil)
		got, err := readKey(t.Context(), s)
		require.Equal(t, want, KindOf(err), "%v", err)
		if err == nil {
			require.Equal(t, o.data, got)
			continue
		}
		require.NotContains(t, strings.ToLower(err.Error()), "not found", "Velero would go on as if there were no object")
	}
}

func TestUnknownEncoding(t *testing.T) {
	t.Parallel()
	o := ours(content(1000, 1))
	o.header.Set("Content-Encoding", "br")
	o.header.Set("X-Amz-Meta-"+client.CRCName, client.CRC(content(2000, 1)))
	_, err := readKey(t.Context(), openAt(t, serve(t, o.ServeHTTP), nil))
	require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
	require.ErrorContains(t, err, `Content-Encoding "br"`)
}

// TestSizeWithoutLength learns a size where HEAD tells none.
func TestSizeWithoutLength(t *testing.T) {
	t.Parallel()
	o := inParts(content(1234, 1))
	for name, ranges := range map[string]bool{"by a range": true, "by a listing": false} {
		asked := map[string]bool{}
		store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Has("prefix"):
				asked["list"] = true
				_, _ = io.WriteString(w, "<ListBucketResult><Contents><Key>key</Key><Size>1234</Size></Contents></ListBucketResult>")
			case r.Method == http.MethodHead:
				raw(w, "HTTP/1.0", o.header, nil)
			case ranges:
				asked["range"] = true
				o.ServeHTTP(w, r)
			default:
				raw(w, "HTTP/1.0", o.header, o.data)
			}
		}), nil)
		info, err := store.client.Stat(t.Context(), client.Brief, "bucket", "key")
		require.NoError(t, err, name)
		require.EqualValues(t, 1234, info.Size)
		require.True(t, asked["range"] == ranges && asked["list"] != ranges, "%s: %v", name, asked)
	}
}

// TestWeakETags reads over a proxy that makes every ETag weak, breaks off, and
// meets no condition.
func TestWeakETags(t *testing.T) {
	t.Parallel()
	o := inParts(content(100_000, 1))
	o.header.Set("Etag", "W/"+o.header.Get("Etag"))
	cuts := 0
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		if r.Header.Get("Range") == "" {
			cuts++
			w = &cutWriter{ResponseWriter: w, left: 50_000}
		}
		o.ServeHTTP(w, r)
	}), nil)
	got, err := readKey(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, 1, cuts)
	require.True(t, bytes.Equal(o.data, got))
}

// TestOtherMetadata has an object with the metadata of the one before it.
func TestOtherMetadata(t *testing.T) {
	t.Parallel()
	o := foreign(content(1000, 1))
	o.header.Set("X-Amz-Meta-"+client.CRCName, client.CRC(content(999, 2)))
	got, err := readKey(t.Context(), openAt(t, serve(t, o.ServeHTTP), nil))
	require.NoError(t, err, "the ETag proves it")
	require.Equal(t, o.data, got)
	o.header.Set("Etag", `"other"`)
	o.header.Set("X-Amz-Meta-"+client.CRCName, strings.Replace(client.CRC(o.data), ":1000", ":"+strconv.Itoa(2000), 1))
	_, err = readKey(t.Context(), openAt(t, serve(t, o.ServeHTTP), nil))
	require.Equal(t, s3err.Corrupt, KindOf(err), "%v", err)
}

// TestFormerMetadata has an object from when the checksum was kept by another name.
func TestFormerMetadata(t *testing.T) {
	t.Parallel()
	o := inParts(content(1000, 1))
	o.header.Set("Etag", `"other"`)
	o.header.Set("X-Amz-Meta-Longshore-Crc32c", client.CRC(o.data))
	got, err := readKey(t.Context(), behindWay(t, o, chunked(500)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(o.data, got))
	o.data = content(1000, 2)
	_, err = readKey(t.Context(), openAt(t, serve(t, o.ServeHTTP), nil))
	require.Equal(t, s3err.Corrupt, KindOf(err), "%v", err)
}

func httpTime(text string) time.Time {
	at, err := http.ParseTime(text)
	if err != nil {
		panic(err)
	}
	return at
}
