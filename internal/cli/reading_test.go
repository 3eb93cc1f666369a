package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// store puts objects below a prefix of the bucket.
func (s *storage) store(prefix string, objects map[string][]byte) {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		_, err := client.Client.PutObject(s.Context(), bucket, prefix+"/"+key, bytes.NewReader(objects[key]), int64(len(objects[key])), minio.PutObjectOptions{})
		require.NoError(s, err)
	}
}

// storeEncrypted is store with a key of the client's own.
func (s *storage) storeEncrypted(prefix string, objects map[string][]byte, key string) {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	sse, err := encrypt.NewSSEC([]byte(key))
	require.NoError(s, err)
	for name, content := range objects {
		_, err := client.Client.PutObject(s.Context(), bucket, prefix+"/"+name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{ServerSideEncryption: sse})
		require.NoError(s, err)
	}
}

// at are the flags that say where the location is.
func (s *storage) at(prefix string) []string {
	return []string{"--bucket", bucket, "--prefix", prefix, "--config", "s3Url=" + s.Endpoint, "--credentials-file", s.CredentialsFile}
}

// read runs a command over a location and wants it to end so.
func (s *storage) read(status int, prefix string, args ...string) (stdout, stderr string) {
	s.Helper()
	var out, errs bytes.Buffer
	got := Run(append(args, s.at(prefix)...), "test", &out, &errs)
	require.Equal(s, status, got, "%v: %s%s", args, out.String(), errs.String())
	require.NotContains(s, out.String()+errs.String(), s.SecretKey)
	return out.String(), errs.String()
}

func TestReading(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	const prefix = "velero"
	good := backuptest.New("nightly-1")
	s.store(prefix, good.Objects(t))
	s.store(prefix, backuptest.New("nightly-2").Objects(t))
	s.store(prefix, map[string][]byte{
		"restores/back/restore-back-logs.gz":           backuptest.Gzip(t, []byte("restored\n")),
		"restores/nightly-2/restore-nightly-2-logs.gz": backuptest.Gzip(t, []byte("restored too\n")),
	})
	for name, test := range map[string]func(*storage, *backuptest.Backup){
		"logs": (*storage).readLogs, "describe": (*storage).readDescription, "download": (*storage).readArchive,
		"missing": (*storage).readMissing, "damaged": (*storage).readDamaged,
	} {
		t.Run(name, func(t *testing.T) { test(s.of(t), good) })
	}
}

func (s *storage) readLogs(good *backuptest.Backup) {
	out, _ := s.read(exitOK, "velero", "logs", "nightly-1")
	require.Equal(s, good.Log, out)
	out, _ = s.read(exitOK, "velero", "logs", "back")
	require.Equal(s, "restored\n", out)
	_, said := s.read(exitFailed, "velero", "logs", "nightly-2")
	require.Contains(s, said, "say backup/nightly-2 or restore/nightly-2")
	out, _ = s.read(exitOK, "velero", "logs", "restore/nightly-2")
	require.Equal(s, "restored too\n", out)
	_, said = s.read(exitUsage, "velero", "logs")
	require.Contains(s, said, "say which backup or restore")
	_, said = s.read(exitUsage, "velero", "logs", "../nightly-1")
	require.Contains(s, said, "is no name")
}

func (s *storage) readDescription(*backuptest.Backup) {
	out, _ := s.read(exitOK, "velero", "describe", "nightly-1")
	for _, wanted := range []string{
		"phase        Completed", "started      2026-11-27 01:00:00 UTC", "namespaces   shop", "items        5", "volumes      ", "schedule     nightly",
		"v1/ConfigMap", "shop/data   pvc-1    NativeSnapshot   10Gi   succeeded   6f1c", "skipped", "skipped due to resource policy", "one of them",
	} {
		require.Contains(s, out, wanted)
	}
	out, _ = s.read(exitOK, "velero", "describe", "nightly-1", "-o", "json")
	var d backups.Description
	require.NoError(s, json.Unmarshal([]byte(out), &d))
	require.Equal(s, 5, d.Items)
	require.EqualValues(s, 10<<30, d.Volumes[1].Size)
	require.Len(s, d.Objects, 10)
}

func (s *storage) readArchive(good *backuptest.Backup) {
	dir := s.TempDir()
	file := filepath.Join(dir, "all.tar.gz")
	s.read(exitOK, "velero", "download", "nightly-1", "--to", file)
	content, err := os.ReadFile(file)
	require.NoError(s, err)
	require.Equal(s, slices.Sorted(maps.Keys(good.Files)), slices.Sorted(maps.Keys(files(s.T, content))))

	_, said := s.read(exitFailed, "velero", "download", "nightly-2", "--to", file)
	require.Contains(s, said, "is there already")
	s.read(exitOK, "velero", "download", "nightly-2", "--to", file, "--force")

	const path = "resources/configmaps/namespaces/shop/settings.json"
	out, _ := s.read(exitOK, "velero", "download", "nightly-1", "--to", "-", path)
	require.Equal(s, good.Files[path], out)
	out, _ = s.read(exitOK, "velero", "download", "nightly-1", "--to", "-", "resources/persistentvolumes/cluster", path)
	require.Equal(s, map[string]string{
		path: good.Files[path],
		"resources/persistentvolumes/cluster/pvc-1.json": good.Files["resources/persistentvolumes/cluster/pvc-1.json"],
		"resources/persistentvolumes/cluster/pvc-2.json": good.Files["resources/persistentvolumes/cluster/pvc-2.json"],
	}, files(s.T, []byte(out)))
	_, said = s.read(exitFailed, "velero", "download", "nightly-1", "--to", filepath.Join(dir, "none"), "resources/nothing")
	require.Contains(s, said, "nothing in the archive is at resources/nothing")
	requireOnly(s.T, dir, "all.tar.gz")
}

// files are the files of an archive.
func files(t *testing.T, content []byte) map[string]string {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	all := map[string]string{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		text, err := io.ReadAll(archive)
		require.NoError(t, err)
		all[header.Name] = string(text)
	}
}

func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := []string{}
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	require.ElementsMatch(t, names, found)
}

func (s *storage) readMissing(*backuptest.Backup) {
	dir := s.TempDir()
	s.Chdir(dir)
	for _, command := range []string{"logs", "describe", "download"} {
		_, said := s.read(exitFailed, "velero", command, "nightly")
		require.Contains(s, said, `"nightly"; did you mean nightly-`, command)
		_, said = s.read(exitFailed, "empty", command, "nightly")
		require.Contains(s, said, "the location has none", command)
	}
	_, said := s.read(exitUsage, "velero", "describe", "nightly-1", "--config", "regoin=x")
	require.Contains(s, said, "did you mean region")
	requireOnly(s.T, dir)
}

// readDamaged: of an object that is not whole nothing appears.
func (s *storage) readDamaged(good *backuptest.Backup) {
	objects := good.Objects(s.T)
	cut := objects["backups/nightly-1/nightly-1.tar.gz"]
	s.store("cut", objects)
	s.store("cut", map[string][]byte{
		"backups/nightly-1/nightly-1.tar.gz":                cut[:len(cut)-20],
		"backups/nightly-1/nightly-1-volumeinfo.json.gz":    []byte("<html><body>Forbidden</body></html>"),
		"backups/nightly-1/nightly-1-logs.gz":               objects["backups/nightly-1/nightly-1-logs.gz"][:20],
		"backups/nightly-1/nightly-1-resource-list.json.gz": backuptest.Gzip(s.T, []byte(`{} {}`)),
	})
	dir := s.TempDir()
	_, said := s.read(exitFailed, "cut", "download", "nightly-1", "--to", filepath.Join(dir, "a"))
	require.Contains(s, said, "nightly-1.tar.gz: it ends too early")
	_, said = s.read(exitFailed, "cut", "download", "nightly-1", "--to", filepath.Join(dir, "a"), "metadata")
	require.Contains(s, said, "ends too early")
	requireOnly(s.T, dir)
	_, said = s.read(exitFailed, "cut", "logs", "nightly-1")
	require.Contains(s, said, "nightly-1-logs.gz: it ends too early")
	out, said := s.read(exitFailed, "cut", "describe", "nightly-1")
	require.Contains(s, out, "Completed")
	require.Contains(s, said, "nightly-1-volumeinfo.json.gz: it is not compressed by gzip")
	require.Contains(s, said, "nightly-1-resource-list.json.gz: more than one JSON value")
	for _, wanted := range []string{"items        unknown", "volumes      unknown", "warnings     1"} {
		require.Contains(s, out, wanted, "what could not be read is not none")
	}
	out, _ = s.read(exitFailed, "cut", "describe", "nightly-1", "-o", "json")
	var d backups.Description
	require.NoError(s, json.Unmarshal([]byte(out), &d))
	require.Equal(s, []string{"items", "volumes"}, d.Unread)
}

// closed is a pipe that nobody reads.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestReadingIntoAClosedPipe(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	s.store("velero", backuptest.New("nightly").Objects(t))
	for _, args := range [][]string{{"logs", "nightly"}, {"describe", "nightly"}, {"download", "nightly", "--to", "-"}} {
		var said bytes.Buffer
		require.Equal(t, exitFailed, Run(append(args, s.at("velero")...), "test", closed{}, &said), args)
		require.Empty(t, said.String(), args)
	}
}

// TestDownloadInterrupted has a person's Ctrl-C in the middle of an archive.
func TestDownloadInterrupted(t *testing.T) {
	alone(t)
	content := backuptest.New("nightly").Objects(t)["backups/nightly/nightly.tar.gz"]
	var interrupt sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		interrupt.Do(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGINT) }) // a second one would end the tests
		<-r.Context().Done()
	}))
	defer server.Close()
	dir := t.TempDir()
	credentials := filepath.Join(dir, "credentials")
	require.NoError(t, testbed.WriteCredentials(credentials, "access", "secretsecretsecret"))
	var said bytes.Buffer
	got := Run([]string{
		"download", "nightly", "--to", filepath.Join(dir, "file"), "--bucket", bucket,
		"--config", "s3Url=" + server.URL, "--config", "region=us-east-1", "--credentials-file", credentials,
	}, "test", io.Discard, &said)
	require.Equal(t, exitFailed, got)
	require.Equal(t, "velero-plugin-longshore: interrupted\n", said.String())
	requireOnly(t, dir, "credentials")
}

// TestReadingWithTheLocationsOwnKey reads what only the location's key decrypts.
// No signed URL could.
func TestReadingWithTheLocationsOwnKey(t *testing.T) {
	s := newStorage(t, testbed.S3Options{Server: testbed.MinIOServer, TLS: true})
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600))
	s.storeEncrypted("velero", backuptest.New("nightly").Objects(t), strings.Repeat("k", 32))
	args := []string{"logs", "nightly", "--cacert", s.CAFile}
	_, said := s.read(exitFailed, "velero", args...)
	require.Contains(t, said, "nightly-logs.gz")
	out, _ := s.read(exitOK, "velero", append(args, "--config", "customerKeyEncryptionFile="+key)...)
	require.Contains(t, out, "backup=velero/nightly")
}

// TestReadingWhatThePluginEncrypts reads and verifies a backup that only the
// location's private key opens.
func TestReadingWhatThePluginEncrypts(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(identity.String()+"\n"), 0o600))
	settings := []string{"encryptionRecipients=" + identity.Recipient().String(), "encryptionIdentityFile=" + key, "encryptionRequired=true"}
	s.storeByPlugin("velero", backuptest.New("nightly").Objects(t), settings)

	var flags []string
	for _, setting := range settings {
		flags = append(flags, "--config", setting)
	}
	out, _ := s.read(exitOK, "velero", append([]string{"verify", "nightly"}, flags...)...)
	require.Contains(t, out, "All that was read is whole.")
	out, _ = s.read(exitOK, "velero", append([]string{"logs", "nightly"}, flags...)...)
	require.Contains(t, out, "backup=velero/nightly")

	steps := s.verify(exitFailed, "velero", "nightly")["nightly"]
	for _, step := range []string{"metadata", "log", "operations", "results", "items", "snapshots", "pod volumes", "volumes", "archive"} {
		require.Equal(t, check.Failed, steps[step].Outcome, step)
		require.Contains(t, steps[step].Detail, "encrypted", step)
		require.Contains(t, steps[step].Hint, "set encryptionIdentitySecret", step)
	}
	s.storeByPlugin("velero", backuptest.New("nightly-20261127010000").Objects(t), settings)
	out, _ = s.read(exitFailed, "velero", "verify", "--latest-of", "nightly")
	require.Contains(t, out, "backup nightly-20261127010000", "what cannot be read is verified, and fails")
}

// TestReadingAfterTheClusterIsLost has the location's manifest and, in a file, the private
// key that it has in a Secret.
func TestReadingAfterTheClusterIsLost(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "lost"))
	s := newStorage(t, testbed.S3Options{})
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	key, location := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "location.yaml")
	require.NoError(t, os.WriteFile(key, []byte(identity.String()+"\n"), 0o600))
	require.NoError(t, os.WriteFile(location, fmt.Appendf(nil, `
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: default, namespace: velero}
spec:
  provider: longshore.dev/s3-csi
  config: {s3Url: %q, encryptionRecipients: %q, encryptionIdentitySecret: age/identity}
  objectStorage: {bucket: %s, prefix: velero}
`, s.Endpoint, identity.Recipient(), bucket), 0o600))
	s.storeByPlugin("velero", backuptest.New("nightly").Objects(t), []string{
		"encryptionRecipients=" + identity.Recipient().String(), "encryptionIdentityFile=" + key,
	})
	describe := func(more ...string) (status int, said string) {
		var out bytes.Buffer
		status = Run(append([]string{"describe", "nightly", "--file", location, "--credentials-file", s.CredentialsFile}, more...), "test", &out, &out)
		return status, out.String()
	}
	status, said := describe()
	require.Equal(t, exitUsage, status, said)
	require.Contains(t, said, "encryptionIdentitySecret: find the Kubernetes cluster")
	require.Contains(t, said, "--config encryptionIdentityFile=FILE")
	status, said = describe("--config", "encryptionIdentityFile="+key)
	require.Equal(t, exitOK, status, said)
	require.Contains(t, said, "items        5")
}

// TestVerifyEncrypted has objects that were not altered, and yet are not those that
// Velero stored last: plain ones, and such of an older backup of the same name.
func TestVerifyEncrypted(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	keys := newRotation(t)
	older, now := backuptest.New("nightly"), backuptest.New("nightly")
	older.Made = older.Made.AddDate(0, 0, -1)
	status := older.Metadata["status"].(map[string]any)
	status["startTimestamp"], status["completionTimestamp"] = backuptest.Started.AddDate(0, 0, -1), backuptest.Started.AddDate(0, 0, -1).Add(10*time.Second)
	now.AddItem("v1", "ConfigMap", "configmaps", "shop", "more", nil)
	now.Metadata["status"].(map[string]any)["progress"] = map[string]any{"totalItems": 6, "itemsBackedUp": 6}
	s.storeByPlugin("velero", older.Objects(t), keys.old)
	s.verify(exitOK, "velero", configured(keys.old, "nightly")...)
	before := s.stored("velero/")
	s.storeByPlugin("velero", now.Objects(t), keys.old)
	stored := s.stored("velero/")
	steps := s.verify(exitOK, "velero", configured(keys.old, "nightly")...)["nightly"]
	require.Equal(t, check.OK, steps["encryption"].Outcome)

	for object, failed := range map[string]string{"nightly.tar.gz": "archive", "velero-backup.json": "archive", "nightly-resource-list.json.gz": "items"} {
		key := "backups/nightly/" + object
		s.store("velero", map[string][]byte{key: []byte(before["velero/"+key])})
		steps := s.verify(exitFailed, "velero", configured(keys.old, "nightly")...)["nightly"]
		require.Equal(t, check.Failed, steps[failed].Outcome, "an older %s: %v", object, steps)

		s.store("velero", map[string][]byte{key: now.Objects(t)[key]})
		steps = s.verify(exitFailed, "velero", configured(keys.old, "nightly")...)["nightly"]
		require.Equal(t, check.Failed, steps["encryption"].Outcome, "a plain %s: %v", object, steps)
		require.Contains(t, steps["encryption"].Detail, object+" is not encrypted")
		s.store("velero", map[string][]byte{key: []byte(stored["velero/"+key])})
	}
	s.store("velero", backuptest.New("plain").Objects(t))
	require.NotContains(t, s.verify(exitOK, "velero", configured(keys.old, "plain")...)["plain"], "encryption")
}

// storeByPlugin is store as Velero does it, with these settings.
func (s *storage) storeByPlugin(prefix string, objects map[string][]byte, settings []string) {
	s.Helper()
	config := map[string]string{"bucket": bucket, "prefix": prefix, "s3Url": s.Endpoint, "credentialsFile": s.CredentialsFile}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		config[name] = value
	}
	log, _ := logtest.NewNullLogger()
	store, err := objectstore.Open(s.Context(), log, config)
	require.NoError(s, err)
	for key, content := range objects {
		require.NoError(s, store.PutObject(s.Context(), bucket, prefix+"/"+key, bytes.NewReader(content)))
	}
}
