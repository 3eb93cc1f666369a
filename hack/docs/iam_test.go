package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// policy is a file of docs/iam.
type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect      string
		Action, Resource []string
	}
}

// allowed are the actions of some policies, sorted.
func allowed(t *testing.T, names ...string) []string {
	t.Helper()
	var actions []string
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, "docs", "iam", name+".json"))
		require.NoError(t, err)
		var p policy
		decoder := json.NewDecoder(strings.NewReader(string(content)))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&p), name)
		require.Equal(t, "2012-10-17", p.Version, name)
		for _, s := range p.Statement {
			require.Equal(t, "Allow", s.Effect, name)
			require.NotEmpty(t, s.Resource, name)
			actions = append(actions, s.Action...)
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

var every = []string{"bucket", "prefix", "read-only", "kms", "object-lock", "versions", "extras"}

// TestPoliciesFitTheRequests makes the plugin do all that the policies are for,
// and compares them with what it asked of a real server. Neither may have more.
func TestPoliciesFitTheRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	w := newWitness(t)

	w.only("read-only", w.read)
	w.only("bucket", func() { w.read(); w.write(); w.fail() })
	require.Equal(t, allowed(t, "bucket"), allowed(t, "prefix"))
	w.more("versions", w.versions)
	w.more("object-lock", func() {
		w.attempt(map[string]string{"objectLockMode": "GOVERNANCE", "objectLockRetention": "1h", "objectLockLegalHold": "true"})
		_, _ = w.diagnosis().ObjectLock(w.Context())
	})
	w.more("kms", func() { w.attempt(map[string]string{"kmsKeyId": "key"}) })
	w.more("extras", func() {
		w.attempt(map[string]string{"tagging": "a=b", "acl": "private"})
		w.diagnose()
	})
}

// TestHintsFitThePolicies wants each permission that the plugin and its check
// name to be in a policy, and those that a refused request names in the one for
// a bucket.
func TestHintsFitThePolicies(t *testing.T) {
	action := regexp.MustCompile(`s3:[A-Z][A-Za-z]+`)
	for _, named := range action.FindAllString(source(t, "objectstore", "internal/check"), -1) {
		require.Contains(t, allowed(t, every...), named)
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	}))
	t.Cleanup(refusing.Close)
	store := openAt(t, refusing.URL, nil)
	_, getErr := store.GetObject(t.Context(), "backups", "key")
	_, existsErr := store.ObjectExists(t.Context(), "backups", "key")
	_, listErr := store.ListObjects(t.Context(), "backups", "")
	for _, err := range []error{
		store.PutObject(t.Context(), "backups", "key", strings.NewReader("content")), getErr, existsErr, listErr,
		store.DeleteObject(t.Context(), "backups", "key"),
	} {
		named := action.FindAllString(err.Error(), -1)
		require.NotEmpty(t, named, err)
		require.Subset(t, allowed(t, "bucket"), named)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "iam", "README.md"))
	require.NoError(t, err)
	for _, name := range allowed(t, "bucket", "kms", "object-lock", "versions") {
		require.Contains(t, string(page), "`"+name+"`", "what it is for")
	}
}

// openAt opens a store on an address.
func openAt(t *testing.T, address string, more map[string]string) *objectstore.Store {
	t.Helper()
	store, err := objectstore.Open(t.Context(), silent(), configAt(t, address, more))
	require.NoError(t, err)
	return store
}

func configAt(t *testing.T, address string, more map[string]string) map[string]string {
	t.Helper()
	config := map[string]string{
		"bucket": "backups", "s3Url": address, "region": "us-east-1", "partSize": "5MiB", "maxRetries": "2",
		"credentialsFile": filepath.Join(t.TempDir(), "credentials"),
	}
	require.NoError(t, testbed.WriteCredentials(config["credentialsFile"], "access", "secret"))
	maps.Copy(config, more)
	return config
}

func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// witness is a proxy before an S3 server that notes what each request needs to
// be allowed.
type witness struct {
	*testing.T
	s3      *testbed.S3
	address string

	mu   sync.Mutex
	seen map[string]bool
	shy  bool // answers the next start of a multipart upload with an error
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Versioning: true, Buckets: []string{"backups"}})
	require.NoError(t, err)
	client, err := s3.Client()
	require.NoError(t, err)
	require.NoError(t, client.EnableVersioning(t.Context(), "backups"))
	w := &witness{T: t, s3: s3, seen: map[string]bool{}}
	upstream, err := url.Parse(s3.Endpoint)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("X-Amz-Server-Side-Encryption", "AES256") // as AWS says of every object
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.note(r) {
			forward.ServeHTTP(out, r)
			return
		}
		out.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	w.address = server.URL
	return w
}

// note notes a request and tells whether to answer it.
func (w *witness) note(r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, action := range actionsOf(r) {
		w.seen[action] = true
	}
	if w.shy && r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
		w.shy = false
		return false
	}
	return true
}

// actionsOf are the actions for which AWS wants a request to be allowed
// (docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html).
func actionsOf(r *http.Request) []string {
	query := r.URL.Query()
	object := strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0
	of := func(action string) []string { return append([]string{"s3:" + action}, byHeaders(r.Header)...) }
	switch {
	case !object && query.Has("versions"):
		return of("ListBucketVersions")
	case !object && query.Has("versioning"):
		return of("GetBucketVersioning")
	case !object && query.Has("object-lock"):
		return of("GetBucketObjectLockConfiguration")
	case !object && query.Has("lifecycle"):
		return of("GetLifecycleConfiguration")
	case !object:
		return of("ListBucket")
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return of("AbortMultipartUpload")
	case r.Method == http.MethodDelete && query.Has("versionId"):
		return of("DeleteObjectVersion")
	case r.Method == http.MethodDelete:
		return of("DeleteObject")
	case r.Method == http.MethodGet && query.Has("uploadId"):
		return of("ListMultipartUploadParts")
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return of("GetObject")
	}
	return of("PutObject")
}

func byHeaders(h http.Header) []string {
	var actions []string
	for header, needs := range map[string][]string{
		"X-Amz-Tagging":                               {"s3:PutObjectTagging"},
		"X-Amz-Acl":                                   {"s3:PutObjectAcl"},
		"X-Amz-Object-Lock-Mode":                      {"s3:PutObjectRetention"},
		"X-Amz-Object-Lock-Legal-Hold":                {"s3:PutObjectLegalHold"},
		"X-Amz-Bypass-Governance-Retention":           {"s3:BypassGovernanceRetention"},
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": {"kms:GenerateDataKey", "kms:Decrypt"},
	} {
		if h.Get(header) != "" {
			actions = append(actions, needs...)
		}
	}
	return actions
}

// during returns what is asked for while do runs, sorted.
func (w *witness) during(do func()) []string {
	w.mu.Lock()
	w.seen = map[string]bool{}
	w.mu.Unlock()
	do()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.seen))
}

// only wants do to need exactly what a policy allows.
func (w *witness) only(name string, do func()) {
	w.Helper()
	require.Equal(w, allowed(w.T, name), w.during(do), name)
}

// more wants do to need all that a policy allows, and beside that nothing but
// what the policy of a bucket does.
func (w *witness) more(name string, do func()) {
	w.Helper()
	basic := allowed(w.T, "bucket")
	beyond := slices.DeleteFunc(w.during(do), func(action string) bool { return slices.Contains(basic, action) })
	require.Equal(w, allowed(w.T, name), beyond, name)
}

func (w *witness) open(more map[string]string) *objectstore.Store {
	w.Helper()
	config := map[string]string{"credentialsFile": w.s3.CredentialsFile}
	maps.Copy(config, more)
	return openAt(w.T, w.address, config)
}

func (w *witness) read() {
	w.Helper()
	client, err := w.s3.Client()
	require.NoError(w, err)
	_, err = client.Client.PutObject(w.Context(), "backups", "there", strings.NewReader("content"), 7, minio.PutObjectOptions{})
	require.NoError(w, err)
	store := w.open(nil)
	_, err = store.ListCommonPrefixes(w.Context(), "backups", "", "/")
	require.NoError(w, err)
	_, err = store.ListObjects(w.Context(), "backups", "th")
	require.NoError(w, err)
	there, err := store.ObjectExists(w.Context(), "backups", "there")
	require.NoError(w, err)
	require.True(w, there)
	body, err := store.GetObject(w.Context(), "backups", "there")
	require.NoError(w, err)
	defer body.Close()
	_, err = io.ReadAll(body)
	require.NoError(w, err)
}

// write stores objects in one request and in parts, the latter with an answer
// that is lost, and deletes them.
func (w *witness) write() {
	w.Helper()
	store := w.open(nil)
	require.NoError(w, store.PutObject(w.Context(), "backups", "small", strings.NewReader("content")))
	w.mu.Lock()
	w.shy = true
	w.mu.Unlock()
	require.NoError(w, store.PutObject(w.Context(), "backups", "large", io.LimitReader(zeros{}, 6<<20)))
	require.NoError(w, store.DeleteObject(w.Context(), "backups", "small"))
}

// fail breaks an upload off in its second part.
func (w *witness) fail() {
	w.Helper()
	broken := io.MultiReader(io.LimitReader(zeros{}, 6<<20), failing{})
	require.Error(w, w.open(nil).PutObject(w.Context(), "backups", "broken", broken))
}

func (w *witness) versions() {
	w.Helper()
	store := w.open(map[string]string{"deleteVersions": "true", "bypassGovernanceRetention": "true"})
	require.NoError(w, store.PutObject(w.Context(), "backups", "versioned", strings.NewReader("content")))
	require.NoError(w, store.DeleteObject(w.Context(), "backups", "versioned"))
}

// attempt stores an object with settings that this server may refuse: what was
// asked for is all that counts.
func (w *witness) attempt(more map[string]string) {
	w.Helper()
	_ = w.open(more).PutObject(context.WithoutCancel(w.Context()), "backups", "attempted", strings.NewReader("content"))
}

// diagnosis goes the way of a check to the bucket.
func (w *witness) diagnosis() *objectstore.Diagnosis {
	w.Helper()
	d, err := objectstore.Diagnose(silent(), configAt(w.T, w.address, map[string]string{"credentialsFile": w.s3.CredentialsFile}))
	require.NoError(w, err)
	_, _, err = d.FindRegion(w.Context())
	require.NoError(w, err)
	_, err = d.Identify(w.Context())
	require.NoError(w, err)
	require.NoError(w, d.Connect(w.Context()))
	return d
}

func (w *witness) diagnose() {
	w.Helper()
	d := w.diagnosis()
	_, err := d.Versioning(w.Context())
	require.NoError(w, err)
	_, _ = d.ObjectLock(w.Context())
	_, _ = d.Lifecycle(w.Context())
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// failing is a body that fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the body broke off") }
