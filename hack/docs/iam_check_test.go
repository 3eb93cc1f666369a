package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/cli"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestCheckUnderThePolicies runs check with no more rights than the policies give, in a
// bucket that keeps versions and may lock them.
func TestCheckUnderThePolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Versioning: true})
	require.NoError(t, err)
	client, err := s3.Client()
	require.NoError(t, err)
	require.NoError(t, client.MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{ObjectLocking: true}))

	steps := checkUnder(t, s3, 0, nil, "bucket")
	require.Equal(t, check.Warning, steps["clean up"].Outcome, "versions stay, and it says so")
	require.Contains(t, steps["clean up"].Hint, "s3:DeleteObjectVersion")
	lock := []string{"objectLockMode=GOVERNANCE", "objectLockRetention=1h"}
	require.Equal(t, check.OK, checkUnder(t, s3, 0, lock, "bucket", "object-lock")["object lock"].Outcome)
	versions := []string{"deleteVersions=true"}
	require.Contains(t, checkUnder(t, s3, 1, versions, "bucket")["delete"].Hint, `["s3:ListBucketVersions","s3:DeleteObjectVersion"]`)
	require.Equal(t, check.OK, checkUnder(t, s3, 0, versions, "bucket", "versions")["delete"].Outcome)

	store := openAt(t, confined(t, s3, "bucket"), map[string]string{"credentialsFile": s3.CredentialsFile, "deleteVersions": "true"})
	require.ErrorContains(t, store.DeleteObject(t.Context(), "backups", "key"), "the credentials need s3:ListBucketVersions")
}

// confined is the address of a proxy that refuses what the policies do not allow, as
// storages do that do not name the permission.
func confined(t *testing.T, s3 *testbed.S3, policies ...string) string {
	t.Helper()
	upstream, err := url.Parse(s3.Endpoint)
	require.NoError(t, err)
	may := allowed(t, policies...)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.ContainsFunc(actionsOf(r), func(action string) bool { return !slices.Contains(may, action) }) {
			forward.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func checkUnder(t *testing.T, s3 *testbed.S3, status int, config []string, policies ...string) map[string]check.Result {
	t.Helper()
	args := []string{"check", "objectstore", "-o", "json", "--bucket", "backups", "--credentials-file", s3.CredentialsFile}
	for _, pair := range append(config, "region=us-east-1", "s3Url="+confined(t, s3, policies...)) {
		args = append(args, "--config", pair)
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, status, cli.Run(args, "test", &stdout, &stderr), strings.Join([]string{stdout.String(), stderr.String()}, "\n"))
	var report struct{ Steps []check.Result }
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &report))
	steps := map[string]check.Result{}
	for _, step := range report.Steps {
		steps[step.Step] = step
	}
	return steps
}
