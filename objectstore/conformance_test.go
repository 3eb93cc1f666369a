package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
	"github.com/stretchr/testify/require"
)

// conformance runs what an object store must do over one real server. Each case
// says in its name what is promised; the promises stand beside the interface in
// pluginserver and in doc.go.
//
// A case in without is left out: it asks for what the settings rule out.
func conformance(t *testing.T, server *server, more map[string]string, without ...string) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"a missing key is an error to read and a no to look for", testMissing},
		{"an object is read as it was written, at every size", testSizes},
		{"writing again replaces the object", testOverwrite},
		{"keys may hold any character", testKeys},
		{"a listing of more than a page is complete and in reverse order", testPages},
		{"prefixes are grouped by any delimiter", testDelimiters},
		{"deleting is idempotent", testDelete},
		{noBucket, testNoBucket},
		{"wrong credentials are an error everywhere", testWrongCredentials},
		{signedURLs, testSignedURL},
		{"a body that fails commits nothing", testBodyFails},
		{"a canceled upload leaves nothing behind", testCancelUpload},
		{"a canceled download ends", testCancelDownload},
		{"concurrent uploads do not mix", testConcurrent},
	} {
		if slices.Contains(without, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			bucket := server.bucket(t)
			store := server.open(t, bucket, more)
			store.downloader.Ranges = alwaysInRanges()
			c.run(t, &fixture{server: server, bucket: bucket, more: more, Store: store})
		})
	}
}

const (
	noBucket   = "a missing bucket is an error everywhere"
	signedURLs = "a signed URL is fetched with plain HTTP"
)

// fixture is what a case works with: a store on an empty bucket.
type fixture struct {
	*Store
	server *server
	bucket string
	more   map[string]string
}

func (f *fixture) put(t *testing.T, key string, data []byte) {
	mustPut(t, f.Store, f.bucket, key, data)
}

func (f *fixture) get(t *testing.T, key string) []byte {
	return readAll(t.Context(), t, f.Store, f.bucket, key)
}

func (f *fixture) exists(t *testing.T, key string) bool {
	there, err := f.ObjectExists(t.Context(), f.bucket, key)
	require.NoError(t, err)
	return there
}

func testMissing(t *testing.T, f *fixture) {
	require.False(t, f.exists(t, "backups/none"))
	_, err := f.GetObject(t.Context(), f.bucket, "backups/none")
	require.Equal(t, s3err.NotFound, KindOf(err), "%v", err)
	require.ErrorContains(t, err, `"backups/none"`)
	require.ErrorContains(t, err, f.bucket)
}

// part is the size of the first part of an upload, in bytes.
func (f *fixture) part() int {
	if f.settings.PartSize == 0 {
		return int(upload.MinPartSize)
	}
	return int(f.settings.PartSize)
}

func testSizes(t *testing.T, f *fixture) {
	part := f.part()
	for _, size := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, part - 1, part, part + 1, 2 * part, 2*part + 1, 3*part + 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			key, data := fmt.Sprint("sizes/", size), content(size, uint64(size))
			f.put(t, key, data)
			require.True(t, bytes.Equal(data, f.get(t, key)), "the content differs")
			require.True(t, f.exists(t, key))
			if size > 3*part {
				read := regexp.MustCompile(fmt.Sprintf("bucket=%s .*key=%s .*ranges=[1-9]", f.bucket, key))
				require.True(t, read.MatchString(everyLog.text()), "it was read as one stream")
			}
		})
	}
	require.Empty(t, f.server.uploads(t, f.bucket))
}

func testOverwrite(t *testing.T, f *fixture) {
	part := f.part()
	for i, size := range []int{10, part + 1, 20, part + 1} {
		data := content(size, uint64(i))
		f.put(t, "again", data)
		require.True(t, bytes.Equal(data, f.get(t, "again")), "the content is not the newest")
	}
}

func testKeys(t *testing.T, f *fixture) {
	keys := []string{
		"plain", "with space", "plus+plus", "percent%20percent", "percent%", "ünï/çødé/日本", "emoji/🚢",
		"quote'\"`", "amp&lt;>", "question?hash#", "semi;colon:comma,", "at@eq=dollar$", "[brackets]{braces}|pipe",
		"tilde~star*", "back\\slash", "dot.", ".hidden", "a/b/c/d/e/f", strings.Repeat("long/", 30) + "key",
	}
	for i, key := range keys {
		f.put(t, key, content(100+i, uint64(i)))
	}
	for i, key := range keys {
		require.True(t, bytes.Equal(content(100+i, uint64(i)), f.get(t, key)), "%q has other content", key)
	}
	listed, err := f.ListObjects(t.Context(), f.bucket, "")
	require.NoError(t, err)
	want := slices.Sorted(slices.Values(keys))
	slices.Reverse(want)
	require.Equal(t, want, listed)
	for _, key := range keys {
		require.NoError(t, f.DeleteObject(t.Context(), f.bucket, key))
		require.False(t, f.exists(t, key), "%q is still there", key)
	}
}

// manyKeys is more than one page of a listing holds.
const manyKeys = 1203

func testPages(t *testing.T, f *fixture) {
	var want []string
	var puts errgroup
	for i := range manyKeys {
		key := fmt.Sprintf("many/%04d/object", i)
		want = append(want, key)
		puts.run(func() error { return f.PutObject(t.Context(), f.bucket, key, strings.NewReader("x")) })
	}
	require.NoError(t, puts.wait())
	f.put(t, "other/object", []byte("x"))
	slices.Reverse(want)
	keys, err := f.ListObjects(t.Context(), f.bucket, "many/")
	require.NoError(t, err)
	require.Equal(t, want, keys)
	prefixes, err := f.ListCommonPrefixes(t.Context(), f.bucket, "many/", "/")
	require.NoError(t, err)
	require.Len(t, prefixes, manyKeys)
	require.Equal(t, "many/0000/", prefixes[0])
	none, err := f.ListObjects(t.Context(), f.bucket, "nothing/")
	require.NoError(t, err)
	require.Empty(t, none)
}

// errgroup runs functions, eight at a time.
type errgroup struct {
	sync.WaitGroup
	slots chan struct{}
	mu    sync.Mutex
	err   error
}

func (g *errgroup) run(work func() error) {
	if g.slots == nil {
		g.slots = make(chan struct{}, 8)
	}
	g.slots <- struct{}{}
	g.Go(func() {
		defer func() { <-g.slots }()
		if err := work(); err != nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
		}
	})
}

func (g *errgroup) wait() error {
	g.Wait()
	return g.err
}

func testDelimiters(t *testing.T, f *fixture) {
	for _, key := range []string{"a/b/c", "a/b/d", "a/bb/e", "a/f", "a-b", "g", "h--i--j", "h--i--k", "h--l"} {
		f.put(t, key, []byte("x"))
	}
	for _, c := range []struct {
		prefix, delimiter string
		want              []string
	}{
		{"", "/", []string{"a/"}},
		{"a/", "/", []string{"a/b/", "a/bb/"}},
		{"a/b", "/", []string{"a/b/", "a/bb/"}},
		{"a", "/", []string{"a/"}},
		{"none/", "/", nil},
		{"h", "--", []string{"h--"}},
		{"h--", "--", []string{"h--i--"}},
		{"a", "b", []string{"a-b", "a/b"}},
		{"", "", nil},
	} {
		got, err := f.ListCommonPrefixes(t.Context(), f.bucket, c.prefix, c.delimiter)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "prefix %q, delimiter %q", c.prefix, c.delimiter)
	}
}

func testDelete(t *testing.T, f *fixture) {
	f.put(t, "dir/gone", []byte("x"))
	f.put(t, "dir/stays", []byte("x"))
	for range 2 {
		require.NoError(t, f.DeleteObject(t.Context(), f.bucket, "dir/gone"))
		require.False(t, f.exists(t, "dir/gone"))
	}
	require.NoError(t, f.DeleteObject(t.Context(), f.bucket, "dir/never"))
	require.True(t, f.exists(t, "dir/stays"))
}

// everyCall makes each call that asks the server, and returns the errors by the
// name of the operation.
func everyCall(ctx context.Context, s *Store, bucket string) map[string]error {
	errs := map[string]error{}
	errs[s3err.OpPut] = s.PutObject(ctx, bucket, "key", strings.NewReader("body"))
	body, err := s.GetObject(ctx, bucket, "key")
	if err == nil {
		_, err = io.ReadAll(body)
		body.Close()
	}
	errs[s3err.OpGet] = err
	_, errs[s3err.OpExists] = s.ObjectExists(ctx, bucket, "key")
	_, errs[s3err.OpList] = s.ListObjects(ctx, bucket, "")
	_, errs["list prefixes"] = s.ListCommonPrefixes(ctx, bucket, "", "/")
	errs[s3err.OpDelete] = s.DeleteObject(ctx, bucket, "key")
	return errs
}

func testNoBucket(t *testing.T, f *fixture) {
	for op, err := range everyCall(t.Context(), f.Store, "no-such-bucket-here") {
		require.Equal(t, s3err.NoBucket, KindOf(err), "%s: %v", op, err)
		require.ErrorContains(t, err, "no-such-bucket-here")
	}
}

func testWrongCredentials(t *testing.T, f *fixture) {
	f.put(t, "key", []byte("body"))
	for name, c := range map[string][2]string{
		"secret key": {f.server.access, "wrong-" + f.server.secret},
		"access key": {"WRONGACCESSKEY", f.server.secret},
	} {
		start := time.Now()
		store := f.server.open(t, f.bucket, map[string]string{"credentialsFile": credentialsFile(t, c[0], c[1])})
		for op, err := range everyCall(t.Context(), store, f.bucket) {
			require.Contains(t, []Kind{s3err.Credentials, s3err.Forbidden}, KindOf(err), "%s, %s: %v", name, op, err)
			require.NotContains(t, err.Error(), c[1])
		}
		require.Less(t, time.Since(start), 10*time.Second, "wrong credentials must fail fast")
	}
}

func testSignedURL(t *testing.T, f *fixture) {
	data := content(5000, 1)
	f.put(t, "dir/log +%.gz", data)
	address, err := f.CreateSignedURL(t.Context(), f.bucket, "dir/log +%.gz", 10*time.Minute)
	require.NoError(t, err)
	require.Equal(t, data, fetch(t, f, address))
	_, err = f.CreateSignedURL(t.Context(), f.bucket, "dir/none", 1000*time.Hour)
	require.NoError(t, err, "a time to live that is too long is cut, not refused")
}

func fetch(t *testing.T, f *fixture, address string) []byte {
	client := &http.Client{Transport: wire.Bare(&f.settings.Account, f.settings.Limits())}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	return body
}

func testBodyFails(t *testing.T, f *fixture) {
	part := f.part()
	f.put(t, "kept", []byte("former"))
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("tar failed"), fmt.Errorf("wrapped: %w", io.EOF)} {
		for _, after := range []int{0, 10, part - 1, part, part + 1, 3*part + 5} {
			for _, key := range []string{"new", "kept"} {
				body := io.MultiReader(bytes.NewReader(content(after, 3)), iotest.ErrReader(cause))
				err := f.PutObject(t.Context(), f.bucket, key, body)
				require.Equal(t, s3err.Body, KindOf(err), "%v after %d bytes: %v", cause, after, err)
				require.ErrorContains(t, err, cause.Error())
			}
		}
	}
	require.False(t, f.exists(t, "new"))
	require.Equal(t, "former", string(f.get(t, "kept")))
	require.Empty(t, f.server.uploads(t, f.bucket))
}

// cancelingReader cancels a context when so many bytes have been read.
type cancelingReader struct {
	io.Reader
	left   int
	cancel context.CancelFunc
}

func (r *cancelingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= n; r.left <= 0 {
		r.cancel()
	}
	return n, err
}

func testCancelUpload(t *testing.T, f *fixture) {
	part := f.part()
	for _, after := range []int{1, part - 1, part + 1, 3 * part} {
		ctx, cancel := context.WithCancel(t.Context())
		body := &cancelingReader{Reader: bytes.NewReader(content(4*part, 4)), left: after, cancel: cancel}
		err := f.PutObject(ctx, f.bucket, "canceled", body)
		require.Equal(t, s3err.Canceled, KindOf(err), "after %d bytes: %v", after, err)
	}
	require.False(t, f.exists(t, "canceled"))
	require.Empty(t, f.server.uploads(t, f.bucket))
}

func testCancelDownload(t *testing.T, f *fixture) {
	f.put(t, "large", content(8<<20, 5))
	ctx, cancel := context.WithCancel(t.Context())
	body, err := f.GetObject(ctx, f.bucket, "large")
	require.NoError(t, err)
	defer body.Close()
	_, err = io.ReadFull(body, make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, body)
	require.Equal(t, s3err.Canceled, KindOf(err), "%v", err)
}

func testConcurrent(t *testing.T, f *fixture) {
	part := f.part()
	errs := make(chan error)
	for i := range 6 {
		go func() {
			errs <- f.PutObject(t.Context(), f.bucket, fmt.Sprint("concurrent/", i), bytes.NewReader(content(part*i/2, uint64(i))))
		}()
	}
	for range 6 {
		require.NoError(t, <-errs)
	}
	for i := range 6 {
		require.True(t, bytes.Equal(content(part*i/2, uint64(i)), f.get(t, fmt.Sprint("concurrent/", i))), "object %d differs", i)
	}
}

func TestVersityGW(t *testing.T) {
	t.Parallel()
	conformance(t, startVersity(t), map[string]string{"partSize": "5MiB"})
}
