package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/internal/verify"
)

const (
	stepFolders = "folders without a backup"
	stepUploads = "unfinished uploads"
	stepOrphans = "snapshots without a backup"
)

// TestUnneeded: folders that hold no backup, and uploads that were broken off, are
// found where all backups of a location are verified, and nowhere else.
func TestUnneeded(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	s.store("velero", backuptest.New("nightly-1").Objects(t))
	none := s.verify(exitFailed, "nothing", "--all")[""]
	require.Equal(t, check.Failed, none[stepFolders].Outcome)
	require.Contains(t, none[stepFolders].Detail, `has no backup at all (bucket `+bucket+`, prefix "nothing/")`)
	require.Contains(t, none[stepFolders].Hint, "make a first backup")

	fresh := s.broken("velero/backups/nightly-1/nightly-1.tar.gz", 0)
	steps := s.verify(exitOK, "velero", "--all")[""]
	require.Equal(t, check.OK, steps[stepFolders].Outcome)
	require.Equal(t, check.OK, steps[stepUploads].Outcome)
	require.Equal(t, "1 upload of the last day, which may be under way", steps[stepUploads].Detail)
	require.NotContains(t, steps, stepOrphans, "no cluster is asked")

	s.store("velero", map[string][]byte{
		"backups/half/half-logs.gz": backuptest.Gzip(t, nil), "backups/page/velero-backup.json": []byte("<html>"),
	})
	running := backuptest.New("running")
	running.Status()["phase"] = "InProgress"
	s.store("velero", running.Objects(t))
	finalizing := backuptest.New("finalizing")
	finalizing.Status()["phase"] = "Finalizing"
	s.store("velero", finalizing.Objects(t))
	s.broken("velero/backups/nightly-0/nightly-0.tar.gz", 3*24*time.Hour)
	s.broken("elsewhere/data", 9*24*time.Hour)
	steps = s.verify(exitFailed, "velero", "--all")[""]
	require.Equal(t, check.Warning, steps[stepFolders].Outcome)
	require.Equal(t, "of 3 folders Velero makes no Backup: half, page, running; it asks for what is in them each minute, by 8640 requests a day", steps[stepFolders].Detail)
	require.Equal(t, check.Warning, steps[stepUploads].Outcome)
	require.Equal(t, "1 upload was broken off more than a day ago, and the parts take up 1.0 MiB: velero/backups/nightly-0/nightly-0.tar.gz (1.0 MiB, 3 days old)", steps[stepUploads].Detail)
	for _, step := range []string{stepFolders, stepUploads} {
		require.NotEmpty(t, steps[step].Hint)
	}

	require.NotContains(t, s.verify(exitOK, "velero", "nightly-1")[""], stepUploads)
	out, _ := s.read(exitFailed, "velero", "verify", "--all")
	require.Contains(t, out, "Checking what no backup needs")
	require.Equal(t, len(stepOrphans), verify.NameWidth)
	require.Contains(t, out, "  "+stepFolders+"   !    ", "the columns fit the longest name")

	client, err := s.Client()
	require.NoError(t, err)
	require.NoError(t, client.AbortMultipartUpload(t.Context(), bucket, "velero/backups/nightly-1/nightly-1.tar.gz", fresh))
	s.refusesUploads()
}

// TestArchivesAreKept: nobody is told to remove a folder with an archive, which a cluster
// that has the Backup restores from.
func TestArchivesAreKept(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	noMetadata, damaged, noArchive := backuptest.New("bare").Objects(t), backuptest.New("page").Objects(t), backuptest.New("half").Objects(t)
	delete(noMetadata, "backups/bare/velero-backup.json")
	damaged["backups/page/velero-backup.json"] = []byte("<html>")
	delete(noArchive, "backups/half/half.tar.gz")
	delete(noArchive, "backups/half/velero-backup.json")
	for _, objects := range []map[string][]byte{noMetadata, damaged, noArchive} {
		s.store("velero", objects)
	}
	all := s.verify(exitFailed, "velero", "--all")
	require.Equal(t, check.Warning, all[""][stepFolders].Outcome)
	require.Contains(t, all[""][stepFolders].Detail, "half, bare, page")
	require.Regexp(t, `remove half from the storage.*\nkeep bare, page: `, all[""][stepFolders].Hint)
	for _, step := range []check.Result{all["bare"]["objects"], all["page"]["metadata"]} {
		require.Equal(t, check.Failed, step.Outcome)
		require.Contains(t, step.Hint, "keep the folder")
		require.NotContains(t, step.Hint, "remove")
	}
	require.Contains(t, all["half"]["objects"].Hint, "remove the folder")
}

// TestClosedIsNoDamage: a backup that the location's keys do not open is not taken for a
// folder without a backup.
func TestClosedIsNoDamage(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	keys := newRotation(t)
	s.storeByPlugin("sealed", backuptest.New("nightly-1").Objects(t), keys.old)
	s.store("plain", backuptest.New("nightly-1").Objects(t))
	for name, args := range map[string][]string{
		"no key":      {"sealed"},
		"another key": append([]string{"sealed"}, configured(keys.now)...),
		"required":    append([]string{"plain"}, configured(keys.old, "--config", "encryptionRequired=true")...),
	} {
		all := s.verify(exitFailed, args[0], append(args[1:], "--all")...)
		require.Equal(t, check.Failed, all["nightly-1"]["metadata"].Outcome, name)
		require.NotContains(t, all["nightly-1"]["metadata"].Hint, "remove", name)
		require.Equal(t, check.OK, all[""][stepFolders].Outcome, name)
	}
}

// broken begins an upload of that age, of one part of a MiB, and returns its ID.
func (s *storage) broken(key string, age time.Duration) string {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	id, err := client.NewMultipartUpload(s.Context(), bucket, key, minio.PutObjectOptions{})
	require.NoError(s, err)
	_, err = client.PutObjectPart(s.Context(), bucket, key, id, 1, strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20, minio.PutObjectPartOptions{})
	require.NoError(s, err)
	if age == 0 {
		return id
	}
	aged := false
	require.NoError(s, filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == id { // VersityGW has the time from there
			aged = true
			return os.Chtimes(path, time.Time{}, time.Now().Add(-age-time.Hour))
		}
		return err
	}))
	require.True(s, aged)
	return id
}

// refusesUploads has a policy that does not allow to list uploads.
func (s *storage) refusesUploads() {
	s.Helper()
	refused := 0
	proxy := s.through(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if !r.URL.Query().Has("uploads") {
			forward.ServeHTTP(w, r)
			return
		}
		refused++
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	})
	var out, errs bytes.Buffer
	status := Run([]string{"verify", "--all", "-o", "json", "--bucket", bucket, "--prefix", "velero", "--config", "s3Url=" + proxy, "--credentials-file", s.CredentialsFile}, "test", &out, &errs)
	require.Equal(s, exitFailed, status, "%s%s", out.String(), errs.String())
	var told struct{ Steps []check.Result }
	require.NoError(s, json.Unmarshal(out.Bytes(), &told))
	step := byName(told.Steps)[stepUploads]
	require.Equal(s, check.Skipped, step.Outcome)
	require.Contains(s, step.Detail, "s3:ListBucketMultipartUploads")
	require.NotZero(s, refused)
}

// through is the storage behind a proxy that does with a request as it likes.
func (s *storage) through(do func(w http.ResponseWriter, r *http.Request, forward http.Handler)) (endpoint string) {
	s.Helper()
	upstream, err := url.Parse(s.Endpoint)
	require.NoError(s, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.Host = r.In.Host // it is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { do(w, r, forward) }))
	s.Cleanup(proxy.Close)
	return proxy.URL
}
