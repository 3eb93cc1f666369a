package objectstore

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

const publicObjects = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`

// TestAnonymous reads a bucket before and after its objects are public. A
// forbidden key is an error and not a no.
func TestAnonymous(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	bucket := real.bucket(t)
	mustPut(t, real.open(t, bucket, nil), bucket, "key", []byte("public"))
	s := real.open(t, bucket, map[string]string{"anonymous": "true", "credentialsFile": ""})
	for op, err := range everyCall(t.Context(), s, bucket) {
		require.Equal(t, s3err.Forbidden, KindOf(err), "%s: %v", op, err)
	}
	require.NoError(t, real.admin.SetBucketPolicy(t.Context(), bucket, fmt.Sprintf(publicObjects, bucket)))
	require.Equal(t, "public", string(readAll(t.Context(), t, s, bucket, "key")))
	there, err := s.ObjectExists(t.Context(), bucket, "missing")
	require.NoError(t, err)
	require.False(t, there)
	_, err = s.CreateSignedURL(t.Context(), bucket, "key", time.Minute)
	require.Equal(t, s3err.Unsupported, KindOf(err), "%v", err)
}

// TestWrongRegion asks real servers with a region that is not theirs.
func TestWrongRegion(t *testing.T) {
	for _, kind := range testbed.S3Servers() {
		t.Run(kind.Name, func(t *testing.T) {
			real := start(t, testbed.S3Options{Server: kind})
			bucket := real.bucket(t)
			for op, err := range everyCall(t.Context(), real.open(t, bucket, map[string]string{"region": "eu-west-9"}), bucket) {
				require.Equal(t, s3err.Region, KindOf(err), "%s: %v", op, err)
				require.ErrorContains(t, err, "us-east-1", op)
			}
			for op, err := range everyCall(t.Context(), real.open(t, bucket, map[string]string{"region": ""}), bucket) {
				require.NoError(t, err, "%s: the region is found out", op)
			}
		})
	}
}

// TestSkewedClock makes requests look twenty minutes old to real servers.
func TestSkewedClock(t *testing.T) {
	for _, kind := range testbed.S3Servers() {
		t.Run(kind.Name, func(t *testing.T) {
			behind, proxy := behindProxy(t, start(t, testbed.S3Options{Server: kind}))
			bucket := behind.bucket(t)
			s := behind.open(t, bucket, nil)
			proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				skewed := time.Now().UTC().Add(-20 * time.Minute)
				if skewed.Day() != time.Now().UTC().Day() { // a date of its own would be another mistake
					skewed = skewed.Add(40 * time.Minute)
				}
				r.Header.Set("X-Amz-Date", skewed.Format("20060102T150405Z"))
				forward.ServeHTTP(w, r)
			})
			for op, err := range everyCall(t.Context(), s, bucket) {
				require.Equal(t, s3err.Clock, KindOf(err), "%s: %v", op, err)
				require.ErrorContains(t, err, "set the clock", op)
			}
		})
	}
}

// TestPayloadSigning looks at https, where S3 does without the payload's hash.
func TestPayloadSigning(t *testing.T) {
	seen := make(chan string, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			seen <- r.Header.Get("X-Amz-Content-Sha256")
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	for signing, want := range map[string]string{"sha256": "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5", "unsigned": "UNSIGNED-PAYLOAD"} {
		s := openAt(t, server.URL, map[string]string{"insecureSkipTLSVerify": "true", "payloadSigning": signing})
		require.Error(t, s.PutObject(t.Context(), "bucket", "key", bytes.NewReader([]byte("body"))))
		require.Equal(t, want, <-seen)
	}
	real := start(t, testbed.S3Options{TLS: true})
	bucket := real.bucket(t)
	require.NoError(t, bothWays(t.Context(), t, real, bucket, map[string]string{"payloadSigning": "unsigned"}))
}

// TestRotation replaces the keys on disk, as Kubernetes does when the Secret
// changes, and wants a real server to accept the next request.
func TestRotation(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	path := credentialsFile(t, real.access, "former-secret-key")
	s := real.open(t, bucket, map[string]string{"credentialsFile": path})
	_, err := s.ObjectExists(t.Context(), bucket, "key")
	require.Contains(t, []Kind{s3err.Forbidden, s3err.Credentials}, KindOf(err), "%v", err)
	writeCredentials(t, path, real.access, real.secret)
	require.Eventually(t, func() bool {
		_, err = s.ObjectExists(t.Context(), bucket, "key")
		return err == nil
	}, 5*time.Second, 20*time.Millisecond, "the new file takes effect")
}

// TestDownloadWithoutCredentials has the connection of a download break when its
// credentials have expired, and the service behind them close its connections.
func TestDownloadWithoutCredentials(t *testing.T) {
	withoutEnvironment(t)
	calls := 0
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls > 1 {
			panic(http.ErrAbortHandler)
		}
		ends := time.Now().Add(5*time.Minute + 3*time.Second).UTC() // less the five minutes that the SDK takes off
		fmt.Fprintf(w, `{"AccessKeyId":"CONTAINER","SecretAccessKey":"container-secret","Token":"the-session","Expiration":%q}`, ends.Format(time.RFC3339))
	}))
	o := foreign(content(300<<10, 1))
	store, err := openWith(t, map[string]string{"region": "us-east-1", "retryTimeout": "1s", "s3Url": serve(t, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), o.header)
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		_, _ = w.Write(o.data[:len(o.data)/2])
		w.(http.Flusher).Flush()
		time.Sleep(3100 * time.Millisecond)
		panic(http.ErrAbortHandler)
	})})
	require.NoError(t, err)
	body, err := store.GetObject(t.Context(), "bucket", "key")
	require.NoError(t, err)
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	require.ErrorContains(t, err, `get object "key"`)
	require.ErrorIs(t, err, io.EOF, "the case that is meant")
	require.Less(t, n, int64(len(o.data)))
	_, err = body.Read(make([]byte, 1))
	require.ErrorContains(t, err, `get object "key"`)
}
