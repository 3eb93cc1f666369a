package objectstore

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// unordered lists keys in an order of its own, two a page, by both calls.
type unordered struct {
	keys []string
	// fails tells whether the request with that number fails.
	fails func(request int) bool
	// bare leaves NextMarker out.
	bare     bool
	requests int
}

func (u *unordered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.requests++
	if u.fails != nil && u.fails(u.requests) {
		answer(503, "SlowDown")(w, r, nil)
		return
	}
	from := 0
	if token := r.URL.Query().Get("continuation-token"); token != "" {
		from, _ = strconv.Atoi(token)
	}
	if marker := r.URL.Query().Get("marker"); marker != "" {
		from = slices.Index(u.keys, marker) + 1
	}
	if after := r.URL.Query().Get("start-after"); after != "" {
		// What such a storage does with it: nothing that helps.
		from = slices.IndexFunc(u.keys, func(key string) bool { return key > after })
		if from < 0 {
			from = len(u.keys)
		}
	}
	end := min(from+2, len(u.keys))
	fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%v</IsTruncated>", end < len(u.keys))
	if end < len(u.keys) {
		fmt.Fprintf(w, "<NextContinuationToken>%d</NextContinuationToken>", end)
		if !u.bare {
			fmt.Fprintf(w, "<NextMarker>%s</NextMarker>", u.keys[end-1])
		}
	}
	for _, key := range u.keys[from:end] {
		if prefix, cut := strings.CutSuffix(key, "/"); cut && r.URL.Query().Get("delimiter") == "/" {
			fmt.Fprintf(w, "<CommonPrefixes><Prefix>%s/</Prefix></CommonPrefixes>", prefix)
			continue
		}
		fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>", key)
	}
	_, _ = io.WriteString(w, "</ListBucketResult>")
}

// TestUnorderedListing has a storage that lists in its own order and fails now
// and then: no name may be missing.
func TestUnorderedListing(t *testing.T) {
	t.Parallel()
	names := []string{"backups/e/", "backups/a/", "backups/d/", "backups/b/", "backups/c/"}
	for _, version := range []string{"1", "2"} {
		for fails := range 4 {
			u := &unordered{keys: names, fails: func(request int) bool { return request == fails }}
			store := openAt(t, serve(t, u.ServeHTTP), map[string]string{"listObjectsVersion": version})
			got, err := store.ListCommonPrefixes(t.Context(), "bucket", "backups/", "/")
			require.NoError(t, err)
			require.Equal(t, slices.Sorted(slices.Values(names)), got, "version %s, request %d fails", version, fails)
			require.Equal(t, 3+min(fails, 1), u.requests)
			got, err = store.ListObjects(t.Context(), "bucket", "backups/")
			require.NoError(t, err)
			require.Len(t, got, len(names))
		}
	}
}

// TestMarkerFromNames lists by the first call at a storage that does not say
// where the next page begins, which S3 leaves out, too.
func TestMarkerFromNames(t *testing.T) {
	t.Parallel()
	names := []string{"a/", "b/", "c/", "d/", "e/"}
	u := &unordered{keys: names, bare: true}
	got, err := openAt(t, serve(t, u.ServeHTTP), map[string]string{"listObjectsVersion": "1"}).ListCommonPrefixes(t.Context(), "bucket", "", "/")
	require.NoError(t, err)
	require.Equal(t, names, got)
	u = &unordered{keys: []string{"e/", "a/", "d/", "b/", "c/"}, bare: true}
	_, err = openAt(t, serve(t, u.ServeHTTP), map[string]string{"listObjectsVersion": "1"}).ListCommonPrefixes(t.Context(), "bucket", "", "/")
	require.Equal(t, s3err.NotS3, KindOf(err), "names that do not ascend tell no place: %v", err)
}

// TestExpiredContinuation has a storage that forgets where a listing was.
func TestExpiredContinuation(t *testing.T) {
	t.Parallel()
	forgotten := false
	u := &unordered{keys: []string{"a", "b", "c", "d", "e"}}
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continuation-token") == "4" && !forgotten {
			forgotten = true
			answer(400, "InvalidArgument")(w, r, nil)
			return
		}
		u.ServeHTTP(w, r)
	}), nil)
	got, err := store.ListObjects(t.Context(), "bucket", "")
	require.NoError(t, err)
	require.Equal(t, []string{"e", "d", "c", "b", "a"}, got)
	require.True(t, forgotten)
	require.Equal(t, 5, u.requests)
}

// TestOddPages has pages with oddities that do no harm.
func TestOddPages(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"odd date":        `<ListBucketResult><Contents><Key>key</Key><LastModified>yesterday</LastModified><Size>many</Size></Contents></ListBucketResult>`,
		"no date":         `<ListBucketResult><Contents><Key>key</Key></Contents></ListBucketResult>`,
		"XML 1.1":         `<?xml version="1.1" encoding="UTF-8"?><ListBucketResult><Contents><Key>key</Key></Contents></ListBucketResult>`,
		"byte order mark": "\ufeff<?xml version=\"1.1\" encoding=\"latin1\"?>\n<ListBucketResult><Contents><Key>key</Key></Contents></ListBucketResult>",
		"utf8":            `<?xml version="1.0" encoding="utf8"?><ListBucketResult><Contents><Key>key</Key></Contents></ListBucketResult>`,
		"other names":     `<s3:ListBucketResult xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/"><s3:Contents><s3:Key>key</s3:Key></s3:Contents></s3:ListBucketResult>`,
		"encoded name":    `<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>k%65y</Key></Contents></ListBucketResult>`,
	} {
		for _, zipped := range []bool{false, true} {
			store := openAt(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !zipped {
					_, _ = io.WriteString(w, text)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				zip := gzip.NewWriter(w)
				_, _ = io.WriteString(zip, text)
				_ = zip.Close()
			}), nil)
			got, err := store.ListObjects(t.Context(), "bucket", "")
			require.NoError(t, err, name)
			require.Equal(t, []string{"key"}, got, name)
		}
	}
}

// TestCutPages has pages that are cut on their way with no other sign of it.
func TestCutPages(t *testing.T) {
	t.Parallel()
	text := `<?xml version="1.0"?><ListBucketResult><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></ListBucketResult>`
	for cut := strings.Index(text, "<Contents>") + 1; cut < len(text); cut += 7 {
		requests := 0
		store := openAt(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests == 1 {
				raw(w, "HTTP/1.0", http.Header{}, []byte(text[:cut]))
				return
			}
			_, _ = io.WriteString(w, text)
		}), nil)
		got, err := store.ListObjects(t.Context(), "bucket", "")
		require.NoError(t, err)
		require.Equal(t, []string{"b", "a"}, got)
		require.Equal(t, 2, requests, "cut at %d", cut)
	}
}

// TestListingWithoutProgress has listings, also of versions, that never end.
func TestListingWithoutProgress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		page string // %d is the number of the request
		call func(t *testing.T, s *Store) error
	}{
		"one token":  {`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken><Contents><Key>key%[1]d</Key></Contents></ListBucketResult>`, listAll},
		"new tokens": {`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%[1]d</NextContinuationToken><Contents><Key>key</Key></Contents></ListBucketResult>`, listAll},
		"no names":   {`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%[1]d</NextContinuationToken></ListBucketResult>`, listAll},
		"one page of versions": {`<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>` +
			`<Version><Key>key</Key><VersionId>v</VersionId><IsLatest>true</IsLatest></Version></ListVersionsResult>`, deleteAll},
		"new markers of versions": {`<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>%[1]d</NextVersionIdMarker>` +
			`<Version><Key>key</Key><VersionId>v</VersionId><IsLatest>true</IsLatest></Version></ListVersionsResult>`, deleteAll},
		"no markers of versions": {`<ListVersionsResult><IsTruncated>true</IsTruncated><Version><Key>key</Key><VersionId>v%[1]d</VersionId></Version></ListVersionsResult>`, deleteAll},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests, deletions := 0, 0
			store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete {
					deletions++
					return
				}
				requests++
				_, _ = io.WriteString(w, strings.ReplaceAll(c.page, "%[1]d", strconv.Itoa(requests)))
			}), map[string]string{"deleteVersions": "true"})
			within(t, 10*time.Second, func() {
				err := c.call(t, store)
				require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
				require.Regexp(t, "makes no progress|did not say where", err.Error())
			})
			require.Less(t, requests, 100)
			require.Zero(t, deletions)
		})
	}
}

func listAll(t *testing.T, s *Store) error {
	_, err := s.ListObjects(t.Context(), "bucket", "")
	return err
}

func deleteAll(t *testing.T, s *Store) error { return s.DeleteObject(t.Context(), "bucket", "key") }

// TestVersionsInOrder removes the latest version last: a deletion that is
// interrupted leaves the object as it is seen.
func TestVersionsInOrder(t *testing.T) {
	t.Parallel()
	var gone []string
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			gone = append(gone, r.URL.Query().Get("versionId"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		second := r.URL.Query().Get("version-id-marker") == "v2"
		fmt.Fprintf(w, "<ListVersionsResult><IsTruncated>%v</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>v2</NextVersionIdMarker>", !second)
		if second {
			_, _ = io.WriteString(w, "<Version><Key>key</Key><VersionId>v1</VersionId></Version><Version><Key>key2</Key><VersionId>other</VersionId></Version>")
		} else {
			_, _ = io.WriteString(w, "<Version><Key>key</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></Version><DeleteMarker><Key>key</Key><VersionId>v2</VersionId></DeleteMarker>")
		}
		_, _ = io.WriteString(w, "</ListVersionsResult>")
	}), map[string]string{"deleteVersions": "true"})
	require.NoError(t, deleteAll(t, store))
	require.Equal(t, []string{"v2", "v1", "v3"}, gone)
}
