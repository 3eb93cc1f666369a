package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const bucket = "checked"

// storage is an S3 server to check locations on.
type storage struct {
	*testing.T
	*testbed.S3
}

func newStorage(t *testing.T, o testbed.S3Options) *storage {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	o.Buckets = append(o.Buckets, bucket)
	s3, err := testbed.ForTest(t).StartS3(t.Context(), o)
	require.NoError(t, err)
	alone(t)
	return &storage{t, s3}
}

// alone keeps this machine's own credentials and clusters out.
func alone(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// of is the same storage in a subtest.
func (s *storage) of(t *testing.T) *storage { return &storage{t, s.S3} }

// check checks a location of flags.
func (s *storage) check(status int, more ...string) map[string]check.Result {
	s.Helper()
	args := []string{"--bucket", bucket, "--config", "s3Url=" + s.Endpoint, "--credentials-file", s.CredentialsFile}
	return s.steps(status, append(args, more...)...)
}

func (s *storage) steps(status int, args ...string) map[string]check.Result {
	s.Helper()
	var stdout, stderr bytes.Buffer
	got := Run(append([]string{"check", "objectstore", "-o", "json"}, args...), "test", &stdout, &stderr)
	require.Equal(s, status, got, "%s%s", stdout.String(), stderr.String())
	require.NotContains(s, stdout.String()+stderr.String(), s.SecretKey)
	var told struct {
		Steps []check.Result `json:"steps"`
	}
	require.NoError(s, json.Unmarshal(stdout.Bytes(), &told))
	return byName(told.Steps)
}

// empty wants the bucket to be as it was.
func (s *storage) empty() {
	s.Helper()
	keys, err := s.Keys(s.Context(), bucket, "")
	require.NoError(s, err)
	require.Empty(s, keys)
}

func (s *storage) failsAt(steps map[string]check.Result, step, detail, hint string) {
	s.Helper()
	require.Equal(s, check.Failed, steps[step].Outcome, "%+v", steps)
	require.Contains(s, steps[step].Detail, detail)
	require.Contains(s, steps[step].Hint, hint)
}

func TestObjectStore(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	for name, test := range map[string]func(*storage){
		"good":        (*storage).good,
		"settings":    (*storage).badSettings,
		"way":         (*storage).badWay,
		"credentials": (*storage).badCredentials,
		"folders":     (*storage).foreignFolders,
		"read only":   (*storage).readOnly,
		"file":        (*storage).file,
		"policy":      (*storage).policy,
		"encryption":  (*storage).encryption,
	} {
		t.Run(name, func(t *testing.T) { test(s.of(t)); s.of(t).empty() })
	}
}

func (s *storage) good() {
	steps := s.check(exitOK, "--prefix", "velero", "--config", "region=us-east-1")
	require.Equal(s, "s3Url", steps["settings"].Detail[len(steps["settings"].Detail)-5:])
	for _, step := range []string{"bucket", "list", "put", "get", "signed URL", "multipart upload", "get a range", "delete"} {
		require.Equal(s, check.OK, steps[step].Outcome, step)
	}
	require.True(s, strings.HasPrefix(steps["put"].Detail, "velero/.longshore-check-"))
	require.Equal(s, s.Endpoint+"/"+bucket+"/velero/KEY", steps["addressing"].Detail)
}

// encryption has a location whose keys fit, and one whose keys do not.
func (s *storage) encryption() {
	identity, err := age.GenerateX25519Identity()
	require.NoError(s, err)
	other, err := age.GenerateX25519Identity()
	require.NoError(s, err)
	file := filepath.Join(s.TempDir(), "identities")
	require.NoError(s, os.WriteFile(file, []byte(identity.String()), 0o600))
	keys := []string{"--config", "encryptionIdentityFile=" + file, "--config", "encryptionRecipients=" + identity.Recipient().String()}
	steps := s.check(exitOK, append(keys, "--config", "encryptionRequired=true")...)
	for _, step := range []string{"encryption", "put", "get", "multipart upload", "get a range", "delete"} {
		require.Equal(s, check.OK, steps[step].Outcome, step)
	}
	require.Contains(s, steps["encryption"].Detail, "to 1 public key")
	require.Equal(s, check.Skipped, steps["signed URL"].Outcome)
	require.Contains(s, steps["signed URL"].Detail, "velero-plugin-longshore logs, describe and download")
	keys[3] = "encryptionRecipients=" + other.Recipient().String()
	s.failsAt(s.check(exitFailed, keys...), "encryption", "encryptionRecipients", "")
	require.Equal(s, check.Warning, s.check(exitOK, keys[:2]...)["encryption"].Outcome)
}

func (s *storage) badSettings() {
	s.failsAt(s.check(exitFailed, "--config", "regoin=x"), "settings", "did you mean region", "docs/configuration.md")
	s.failsAt(s.steps(exitFailed, "--config", "region=x"), "settings", "bucket: there is none", "spec.objectStorage.bucket")
	s.failsAt(s.check(exitFailed, "--bucket", "a/b"), "settings", "slash", "spec.objectStorage.prefix")
	s.failsAt(s.check(exitFailed, "--config", "objectLockMode=GOVERNANCE", "--config", "objectLockRetention=1h"), "object lock", "cannot lock objects", "remove objectLockMode")
}

// badWay makes the mistakes of the way to the storage.
func (s *storage) badWay() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s, err)
	closed := listener.Addr().String()
	require.NoError(s, listener.Close())
	s.failsAt(s.check(exitFailed, "--config", "s3Url=http://"+closed), "connection", "connection refused", "check s3Url")
	s.failsAt(s.check(exitFailed, "--config", "s3Url=http://nosuch.invalid"), "name resolution", "nosuch.invalid", "Service")
	s.failsAt(s.check(exitFailed, "--config", strings.Replace("s3Url="+s.Endpoint, "http", "https", 1)), "connection", "TLS failed", "may not speak TLS")
	s.failsAt(s.check(exitFailed, "--config", "s3Url=http://localhost.invalid:1", "--config", "proxyUrl=http://"+closed), "connection", "connection refused", "proxy")
	s.failsAt(s.check(exitFailed, "--bucket", "nowhere"), "bucket", "NoSuchBucket", "create the bucket")
	s.failsAt(s.check(exitFailed, "--config", "s3Url="+strings.Replace(s.Endpoint, "127.0.0.1", "localhost", 1), "--config", "addressing=virtual", "--bucket", "no.such"),
		"addressing", "no.such.localhost", "addressing: path")
}

func (s *storage) badCredentials() {
	none := s.steps(exitFailed, "--bucket", bucket, "--config", "s3Url="+s.Endpoint)
	s.failsAt(none, "credentials", "no credentials", "aws_access_key_id")
	wrong := filepath.Join(s.TempDir(), "wrong")
	require.NoError(s, testbed.WriteCredentials(wrong, s.AccessKey, "not-the-secret"))
	s.failsAt(s.check(exitFailed, "--credentials-file", wrong), "bucket", "SignatureDoesNotMatch", "secret key")
}

func (s *storage) foreignFolders() {
	client, err := s.Client()
	require.NoError(s, err)
	_, err = client.Client.PutObject(s.Context(), bucket, "photos/cat", strings.NewReader("cat"), 3, minio.PutObjectOptions{})
	require.NoError(s, err)
	steps := s.check(exitFailed)
	require.NoError(s, client.RemoveObject(s.Context(), bucket, "photos/cat", minio.RemoveObjectOptions{}))
	s.failsAt(steps, "list", "photos", "spec.objectStorage.prefix")
	require.Equal(s, check.OK, steps["delete"].Outcome, "the rest is still tried")
}

func (s *storage) readOnly() {
	steps := s.check(exitOK, "--read-only")
	require.Equal(s, check.Skipped, steps["put"].Outcome)
	require.Equal(s, "--read-only was given: nothing is written", steps["put"].Detail)
	require.NotContains(s, steps, "delete")
}

// file checks a BackupStorageLocation of a file, with a bucket in its config.
func (s *storage) file() {
	path := filepath.Join(s.TempDir(), "location.yaml")
	require.NoError(s, os.WriteFile(path, fmt.Appendf(nil, `
kind: Secret
apiVersion: v1
metadata: {name: other}
---
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: mine, namespace: velero}
spec:
  provider: aws
  objectStorage: {bucket: %s}
  config: {s3Url: %q, bucket: other}
`, bucket, s.Endpoint), 0o600))
	args := []string{"--file", path, "--credentials-file", s.CredentialsFile}
	steps := s.steps(exitOK, args...)
	require.Equal(s, check.Warning, steps["settings"].Outcome)
	require.Contains(s, steps["settings"].Detail, `bucket: "other" in spec.config has no effect`)
	require.Contains(s, steps["settings"].Detail, `spec.provider is "aws"`)
	require.Contains(s, steps["settings"].Hint, "move bucket from spec.config")

	var stdout, stderr bytes.Buffer
	require.Equal(s, exitUsage, Run([]string{"check", "objectstore", "other", "--file", path}, "test", &stdout, &stderr))
	require.Contains(s, stderr.String(), "no BackupStorageLocation other in it")
}

// policy lets a proxy refuse what a policy could forbid.
func (s *storage) policy() {
	for method, want := range map[string]struct{ step, action string }{
		http.MethodPut:    {"put", `{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::checked/velero/*"]}`},
		http.MethodDelete: {"delete", `"s3:DeleteObject"`},
		http.MethodGet:    {"list", `{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::checked"]}`},
	} {
		address := s.refusing(method)
		steps := s.check(exitFailed, "--prefix", "velero", "--config", "s3Url="+address)
		s.failsAt(steps, want.step, "AccessDenied", want.action)
		if method == http.MethodDelete {
			require.Equal(s, check.Warning, steps["clean up"].Outcome)
			s.removeAll()
		}
	}
}

func (s *storage) removeAll() {
	client, err := s.Client()
	require.NoError(s, err)
	keys, err := s.Keys(s.Context(), bucket, "")
	require.NoError(s, err)
	require.Len(s, keys, 2)
	for _, key := range keys {
		require.NoError(s, client.RemoveObject(s.Context(), bucket, key, minio.RemoveObjectOptions{}))
	}
}

// refusing is the address of the storage as seen by someone who may not use a
// method.
func (s *storage) refusing(method string) string {
	target, err := url.Parse(s.Endpoint)
	require.NoError(s, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			forward.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	}))
	s.Cleanup(proxy.Close)
	return proxy.URL
}

// TestObjectStoreTLS has a CA of its own in the location.
func TestObjectStoreTLS(t *testing.T) {
	s := newStorage(t, testbed.S3Options{TLS: true, Versioning: true})
	s.failsAt(s.check(exitFailed), "connection", "certificate not trusted", "spec.objectStorage.caCert")
	steps := s.check(exitOK, "--cacert", s.CAFile)
	require.Contains(t, steps["connection"].Detail, "TLS, certificate of")
	steps = s.check(exitOK, "--config", "insecureSkipTLSVerify=true")
	require.Equal(t, check.Warning, steps["connection"].Outcome)
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, make([]byte, 33), 0o600))
	s.failsAt(s.check(exitFailed, "--cacert", s.CAFile, "--config", "customerKeyEncryptionFile="+key), "encryption", "holds 33 bytes", "without a newline")

	location := fmt.Sprintf("kind: BackupStorageLocation\nmetadata: {name: mine}\nspec:\n  provider: longshore.dev/s3-csi\n  objectStorage: {bucket: %s, caCert: %s}\n  config: {s3Url: %q}\n",
		bucket, base64.StdEncoding.EncodeToString(s.CA), s.Endpoint)
	path := filepath.Join(t.TempDir(), "location.yaml")
	require.NoError(t, os.WriteFile(path, []byte(location), 0o600))
	s.steps(exitOK, "-f", path, "--credentials-file", s.CredentialsFile)
	s.empty()
	s.versioned()
}

// versioned wants no version of the check's objects to stay.
func (s *storage) versioned() {
	client, err := s.Client()
	require.NoError(s, err)
	require.NoError(s, client.EnableVersioning(s.Context(), bucket))
	steps := s.check(exitOK, "--cacert", s.CAFile)
	require.Equal(s, check.OK, steps["clean up"].Outcome, steps["clean up"].Detail)
	for o := range client.ListObjectsIter(s.Context(), bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(s, o.Err)
		require.Failf(s, "a version stays", "%s %s", o.Key, o.VersionID)
	}
}
