package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/internal/verify"
)

// damage is something done to a good backup, before it is stored or to its objects,
// and what verify has to say of it.
type damage struct {
	before  func(*backuptest.Backup)
	after   func(objects map[string][]byte)
	step    string
	outcome check.Outcome // Failed if empty
	says    string
}

const (
	folder   = "backups/nightly/"
	metadata = folder + "velero-backup.json"
	archive  = folder + "nightly.tar.gz"
	plainPV  = "resources/persistentvolumes/cluster/pvc-1.json"
)

// remove, cut and replace damage objects.
func remove(key string) func(map[string][]byte) {
	return func(objects map[string][]byte) { delete(objects, key) }
}

func cut(key string, bytes int) func(map[string][]byte) {
	return func(objects map[string][]byte) { objects[key] = objects[key][:len(objects[key])-bytes] }
}

func replace(key string, content []byte) func(map[string][]byte) {
	return func(objects map[string][]byte) { objects[key] = content }
}

// flip changes one byte, as a disk does.
func flip(key string, at int) func(map[string][]byte) {
	return func(objects map[string][]byte) {
		content := bytes.Clone(objects[key])
		content[(at+len(content))%len(content)] ^= 1
		objects[key] = content
	}
}

func status(key string, value any) func(*backuptest.Backup) {
	return func(b *backuptest.Backup) { b.Status()[key] = value }
}

// other is an object of another backup, under the name it has in this one.
func other(t *testing.T, key string, change func(*backuptest.Backup)) func(map[string][]byte) {
	b := backuptest.New("older")
	b.Made = b.Made.AddDate(0, 0, -1)
	change(b)
	objects := b.Objects(t)
	return replace(key, objects[strings.ReplaceAll(key, "nightly", "older")])
}

func same(*backuptest.Backup) {}

func damages(t *testing.T) map[string]damage {
	all := map[string]damage{
		// Objects that are missing, cut, changed, or not Velero's.
		"no metadata":       {after: remove(metadata), step: "objects", says: "velero-backup.json is missing"},
		"no log":            {after: remove(folder + "nightly-logs.gz"), step: "objects", outcome: check.Warning, says: "its log is missing"},
		"unknown object":    {after: replace(folder+"notes.txt", []byte("x")), step: "objects", outcome: check.Warning, says: "notes.txt is not Velero's"},
		"archive cut":       {after: cut(archive, 30), step: "archive", says: "ends too early"},
		"archive empty":     {after: replace(archive, backuptest.Gzip(t, nil)), step: "archive", says: "end of the archive is missing"},
		"archive bit":       {after: flip(archive, -6), step: "archive", says: "checksum of its compression"},
		"archive is a page": {after: replace(archive, []byte("<html><body>Welcome</body></html>")), step: "archive", says: "not compressed by gzip"},
		"archive no tar":    {after: replace(archive, backuptest.Gzip(t, bytes.Repeat([]byte("x"), 2048))), step: "archive", says: "no tar archive"},
		"archive no end":    {after: func(o map[string][]byte) { o[archive] = backuptest.Gzip(t, trimmed(backuptest.New("nightly").Tar(t))) }, step: "archive", says: "end of the archive is missing"},
		"archive goes on": {after: func(o map[string][]byte) {
			o[archive] = backuptest.Gzip(t, append(backuptest.New("nightly").Tar(t), 'x'))
		}, step: "archive", says: "end of the archive"},
		"metadata cut":     {after: cut(metadata, 30), step: "metadata", says: "ends too early"},
		"metadata no JSON": {after: replace(metadata, []byte("<html>")), step: "metadata", says: "not the JSON"},
		"log cut":          {after: cut(folder+"nightly-logs.gz", 10), step: "log", says: "ends too early"},

		// Objects of another backup.
		"metadata of another":  {after: other(t, metadata, same), step: "metadata", says: `it is of Backup "older"`},
		"log of another":       {after: other(t, folder+"nightly-logs.gz", same), step: "log", says: "the log of another one"},
		"archive of another":   {after: other(t, archive, same), step: "archive", says: "when this backup did not run"},
		"snapshots of another": {after: other(t, folder+"nightly-volumesnapshots.json.gz", same), step: "snapshots", says: `is of backup "older"`},
		"items of another": {after: other(t, folder+"nightly-resource-list.json.gz", func(b *backuptest.Backup) {
			b.Items["v1/ConfigMap"][0] = "shop/other"
		}), step: "archive", says: "ConfigMap shop/other is in the list and not in the archive"},
		"same name": {before: func(b *backuptest.Backup) { b.Metadata["metadata"].(map[string]any)["uid"] = "x" }, step: "snapshots", says: "another backup of this name"},
		"pod volumes of another": {before: func(b *backuptest.Backup) { b.Lists["-podvolumebackups.json.gz"] = []any{podVolume("older")} },
			step: "pod volumes", says: `volume data of pod shop/db is of backup "older"`},
		"operations of another": {before: func(b *backuptest.Backup) {
			b.Status()["backupItemOperationsAttempted"] = 1
			b.Lists["-itemoperations.json.gz"] = []any{map[string]any{"spec": map[string]any{"backupName": "older"}, "status": map[string]any{"phase": "Completed"}}}
		}, step: "operations", says: `an operation is of backup "older"`},

		// A backup that Velero does not restore from, or that lacks something.
		"failed":      {before: status("phase", "Failed"), step: "metadata", says: "phase Failed"},
		"unfinished":  {before: status("phase", "Finalizing"), step: "metadata", says: "has not finished it"},
		"no phase":    {before: status("phase", ""), step: "metadata", says: "has not finished it"},
		"deleting":    {before: status("phase", "Deleting"), step: "metadata", says: "Deleting"},
		"partial":     {before: partial, step: "metadata", outcome: check.Warning, says: "PartiallyFailed with 1 error"},
		"expired":     {before: status("expiration", backuptest.Started.AddDate(0, 0, -1)), step: "metadata", outcome: check.Warning, says: "expired"},
		"no times":    {before: status("completionTimestamp", nil), step: "metadata", says: "does not say when"},
		"times":       {before: status("completionTimestamp", backuptest.Started.Add(-time.Second)), step: "metadata", says: "completed before"},
		"new format":  {before: status("formatVersion", "2.0.0"), step: "metadata", says: "not known to this release"},
		"old archive": {before: status("formatVersion", "1.0.0"), step: "archive", says: `its format is "1.1.0"`},

		// Counts and names that do not fit.
		"errors":         {before: status("errors", 3), step: "results", says: "0 errors, the metadata count 3"},
		"warnings":       {before: status("warnings", 3), step: "results", outcome: check.Warning, says: "1 warning, the metadata count 3"},
		"operations":     {before: status("backupItemOperationsAttempted", 3), step: "operations", says: "0 operations, the metadata count 3"},
		"item count":     {before: status("progress", map[string]any{"itemsBackedUp": 6}), step: "items", says: "5 items, the metadata count 6"},
		"snapshot count": {before: status("volumeSnapshotsAttempted", 2), step: "snapshots", says: "1 snapshot, the metadata count 2"},
		"snapshots done": {before: status("volumeSnapshotsCompleted", 0), step: "snapshots", says: "1 snapshot completed in it, the metadata count 0"},
		"lacks a volume": {before: func(b *backuptest.Backup) {
			b.Lists["-volumesnapshots.json.gz"] = []any{}
			b.Status()["volumeSnapshotsAttempted"], b.Status()["volumeSnapshotsCompleted"] = 0, 0
		}, step: "volumes", says: "volume pvc-1 has a snapshot here, and none in nightly-volumesnapshots.json.gz"},
		"volume unknown": {before: func(b *backuptest.Backup) { b.Lists["-volumeinfo.json.gz"] = []any{} }, step: "volumes", says: "and none here"},
		"other snapshot": {before: func(b *backuptest.Backup) {
			b.First("-volumeinfo.json.gz")["nativeSnapshotInfo"].(map[string]any)["snapshotHandle"] = "csi://x"
		}, step: "volumes", says: "has another snapshot in"},
		"volume failed": {before: func(b *backuptest.Backup) { b.First("-volumeinfo.json.gz")["result"] = "failed" }, step: "volumes", says: "volume pvc-1 could not be saved"},
		"no pod volume": {before: func(b *backuptest.Backup) {
			b.Lists["-volumeinfo.json.gz"] = append(b.Lists["-volumeinfo.json.gz"].([]any), podVolumeInfo())
		}, step: "volumes", says: "volume data of pod shop/db is not in nightly-podvolumebackups.json.gz"},
		"pod volume": {before: func(b *backuptest.Backup) {
			p := podVolume("nightly")
			p["status"] = map[string]any{"phase": "Failed"}
			b.Lists["-podvolumebackups.json.gz"] = []any{p}
		}, step: "pod volumes", says: "is Failed"},
		"no repository": {before: movedBy(""), step: "repositories", says: "the data of 1 volume cannot be restored: kopia's repository kopia/shop/ is not in the location"},
		"unsaved volume": {before: unsaved, step: "volumes", outcome: check.Warning,
			says: "1 skipped; the data of these are not in the backup: volume pvc-2 of claim shop/logs (volumeSnapshot: not satisfy the criteria"},
		"repository": {before: movedBy(""), after: replace("kopia/shop/kopia.repository", []byte("{}")), step: "repositories", outcome: check.Warning,
			says: "whether the data of 1 volume can be restored cannot be told: kopia's repository kopia/shop/ is there, and is not read"},
		"repository of another":  {before: movedBy("velero"), after: replace("kopia/shop-2/kopia.repository", []byte("{}")), step: "repositories", says: "kopia/shop/ is not in the location"},
		"other mover":            {before: movedBy("example.com/mover"), step: "repositories", outcome: check.Warning, says: "data mover example.com/mover saved them"},
		"restic":                 {before: filesBy("restic"), step: "repositories", outcome: check.Warning, says: "restic saved them"},
		"no repository of files": {before: filesBy("kopia"), step: "repositories", says: "the data of 1 volume cannot be restored"},
		"files": {before: filesBy("kopia"), after: replace("kopia/shop/kopia.repository", []byte("{}")), step: "repositories", outcome: check.Warning,
			says: "whether the data of 1 volume can be restored cannot be told"},
		"no snapshot ID": {before: snapshotID(""), step: "snapshots", says: "has no ID of its own"},
		"bad ID":         {before: snapshotID("csi://d/h?v=9"), step: "snapshots", says: "version"},
		"ID of another":  {before: snapshotID(strings.Replace(backuptest.SnapshotID, "pvc-1", "pvc-9", 1)), step: "snapshots", says: "is one of volume pvc-9"},
		"small snapshot": {before: snapshotID(strings.Replace(backuptest.SnapshotID, "10Gi", "5Gi", 1)), step: "archive", says: "has 5Gi, the volume 10Gi"},
		"snapshot failed": {before: func(b *backuptest.Backup) {
			b.First("-volumesnapshots.json.gz")["status"] = map[string]any{"phase": "Failed"}
		},
			step: "snapshots", says: "the snapshot of volume pvc-1 is Failed"},
		"item lost": {before: func(b *backuptest.Backup) { lose(b, "configmaps/namespaces/shop/settings.json") }, step: "archive", says: "ConfigMap shop/settings is in the list and not in the archive"},
		"item added": {before: func(b *backuptest.Backup) {
			b.AddItem("v1", "Secret", "secrets", "shop", "s", nil)
			delete(b.Items, "v1/Secret")
		}, step: "archive", says: "Secret shop/s is in the archive and not in the list"},
		"deployment lost": {before: func(b *backuptest.Backup) {
			b.AddItem("apps/v1", "Deployment", "deployments.apps", "shop", "web", nil)
			b.Status()["progress"] = nil
			lose(b, "deployments.apps/namespaces/shop/web.json")
		}, step: "archive", says: "Deployment.apps shop/web is in the list and not in the archive"},
		"item hidden": {before: func(b *backuptest.Backup) { delete(b.Files, "resources/configmaps/namespaces/shop/settings.json") }, step: "archive", says: "is not where a restore looks"},
		"item misplaced": {before: func(b *backuptest.Backup) {
			b.Files["resources/configmaps/namespaces/shop/settings.json"] = b.Files[plainPV]
		}, step: "archive", says: "holds v1/PersistentVolume pvc-1"},
		"item damaged": {before: func(b *backuptest.Backup) { b.Files[plainPV] = "{" }, step: "archive", says: plainPV + ": it ends too early"},
		"strange file": {before: func(b *backuptest.Backup) { b.Files["etc/passwd"] = "x" }, step: "archive", outcome: check.Warning, says: "etc/passwd is nothing that Velero writes"},
		"no version":   {before: func(b *backuptest.Backup) { delete(b.Files, "metadata/version") }, step: "archive", says: `its format is ""`},
		"volume lost": {before: func(b *backuptest.Backup) {
			lose(b, "persistentvolumes/cluster/pvc-1.json")
			lose(b, "persistentvolumes/cluster/pvc-1.json")
		}, step: "archive", says: "volume pvc-1 has a snapshot and is not in the archive"},
		"nothing in it":  {before: func(b *backuptest.Backup) { empty(b) }, step: "items", outcome: check.Warning, says: "nothing is in this backup"},
		"null for items": {before: func(b *backuptest.Backup) { b.Lists["-resource-list.json.gz"] = nil; b.Status()["progress"] = nil }, step: "archive", says: "is in the archive and not in the list"},
	}
	maps.Copy(all, olderVeleros())
	for _, list := range []struct{ object, step string }{
		{"-resource-list.json.gz", "items"}, {"-volumesnapshots.json.gz", "snapshots"}, {"-volumeinfo.json.gz", "volumes"},
		{"-podvolumebackups.json.gz", "pod volumes"}, {"-itemoperations.json.gz", "operations"}, {"-results.gz", "results"},
		{"-csi-volumesnapshotclasses.json.gz", "csi-volumesnapshotclasses"},
	} {
		key := folder + "nightly" + list.object
		all["cut "+list.object] = damage{after: cut(key, 9), step: list.step, says: "ends too early"}
		if list.step != "csi-volumesnapshotclasses" { // which only some versions of Velero write
			all["no "+list.object] = damage{after: remove(key), step: "objects", says: "nightly" + list.object + " is missing"}
		}
	}
	all["no archive"] = damage{after: remove(archive), step: "objects", says: "nightly.tar.gz is missing"}
	return all
}

// olderVeleros are backups without what Velero before 1.13 did not write, and before 1.11.
func olderVeleros() map[string]damage {
	without := func(ends ...string) func(map[string][]byte) {
		return func(objects map[string][]byte) {
			for _, end := range ends {
				delete(objects, folder+"nightly"+end)
			}
		}
	}
	old := func(b *backuptest.Backup) { delete(b.Status(), "hookStatus") }
	const volumes, operations, results = "-volumeinfo.json.gz", "-itemoperations.json.gz", "-results.gz"
	return map[string]damage{
		"Velero 1.12": {before: old, after: without(volumes), step: "objects", outcome: check.Warning, says: "nightly-volumeinfo.json.gz is missing, as in backups of Velero before 1.13"},
		"Velero 1.10": {before: old, after: without(volumes, operations, results), step: "objects", outcome: check.Warning,
			says: "nightly-volumeinfo.json.gz, nightly-itemoperations.json.gz, nightly-results.gz are missing, as in backups of Velero before 1.13"},
		"old, more is lost": {before: old, after: without(volumes, "-podvolumebackups.json.gz"), step: "objects", says: "are missing"},
		"old, has volumes":  {before: old, after: without(results), step: "objects", says: "nightly-results.gz is missing"},
		"old, operations lost": {before: func(b *backuptest.Backup) {
			old(b)
			b.Status()["backupItemOperationsAttempted"] = 1
		}, after: without(volumes, operations), step: "objects", says: "are missing"},
	}
}

// TestDescribeOlder: what Velero did not write yet is not missing.
func TestDescribeOlder(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	older := olderVeleros()["Velero 1.10"]
	b := backuptest.New("nightly")
	newer := b.Objects(t)
	older.after(newer)
	s.store("newer", newer)
	_, said := s.read(exitFailed, "newer", "describe", "nightly")
	require.Contains(t, said, "nightly-volumeinfo.json.gz")
	older.before(b)
	objects := b.Objects(t)
	older.after(objects)
	s.store("older", objects)
	out, said := s.read(exitOK, "older", "describe", "nightly")
	require.Contains(t, out, "items        5")
	require.Empty(t, said)
}

// trimmed is an archive without the mark at its end.
func trimmed(archive []byte) []byte { return archive[:len(archive)-1024] }

// empty takes all out of a backup.
func empty(b *backuptest.Backup) {
	b.Files = map[string]string{"metadata/version": "1.1.0"}
	b.Lists["-resource-list.json.gz"], b.Lists["-volumesnapshots.json.gz"], b.Lists["-volumeinfo.json.gz"] = nil, nil, nil
	s := b.Status()
	s["progress"], s["volumeSnapshotsAttempted"], s["volumeSnapshotsCompleted"] = nil, 0, 0
}

func partial(b *backuptest.Backup) {
	b.Status()["phase"], b.Status()["errors"] = "PartiallyFailed", 1
	b.Lists["-results.gz"].(map[string]any)["errors"] = map[string]any{"velero": []string{"no"}}
}

// unsaved has Velero leave a volume out of itself, as with --snapshot-volumes=false.
func unsaved(b *backuptest.Backup) {
	left := b.Lists["-volumeinfo.json.gz"].([]any)[1].(map[string]any)
	left["pvcName"], left["pvcNamespace"] = "logs", "shop"
	left["skippedReason"] = "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;"
}

func snapshotID(id string) func(*backuptest.Backup) {
	return func(b *backuptest.Backup) {
		b.First("-volumesnapshots.json.gz")["status"].(map[string]any)["providerSnapshotID"] = id
		b.First("-volumeinfo.json.gz")["nativeSnapshotInfo"].(map[string]any)["snapshotHandle"] = id
	}
}

func podVolume(backup string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": "p", "labels": map[string]any{"velero.io/backup-name": backup}},
		"spec":     map[string]any{"volume": "data", "pod": map[string]any{"namespace": "shop", "name": "db"}},
		"status":   map[string]any{"phase": "Completed", "snapshotID": "k1"},
	}
}

// filesBy adds a volume that was saved file by file, by that uploader.
func filesBy(uploader string) func(*backuptest.Backup) {
	return func(b *backuptest.Backup) {
		p := podVolume("nightly")
		p["spec"].(map[string]any)["uploaderType"] = uploader
		b.Lists["-podvolumebackups.json.gz"] = []any{p}
		b.Lists["-volumeinfo.json.gz"] = append(b.Lists["-volumeinfo.json.gz"].([]any), podVolumeInfo())
	}
}

// movedBy adds a volume whose snapshot that data mover moved.
func movedBy(mover string) func(*backuptest.Backup) {
	return func(b *backuptest.Backup) {
		b.Lists["-volumeinfo.json.gz"] = append(b.Lists["-volumeinfo.json.gz"].([]any), map[string]any{
			"pvcName": "moved", "pvcNamespace": "shop", "pvName": "pvc-3", "backupMethod": "CSISnapshot", "snapshotDataMoved": true, "result": "succeeded",
			"snapshotDataMovementInfo": map[string]any{"dataMover": mover, "uploaderType": "kopia", "snapshotHandle": "k2", "Phase": "Completed"},
		})
	}
}

func podVolumeInfo() map[string]any {
	return map[string]any{
		"backupMethod": "PodVolumeBackup", "result": "succeeded",
		"pvbInfo": map[string]any{"snapshotHandle": "k1", "volumeName": "data", "podName": "db", "podNamespace": "shop", "Phase": "Completed"},
	}
}

// lose takes an item out of the archive.
func lose(b *backuptest.Backup, path string) {
	delete(b.Files, "resources/"+path)
	resource, rest, _ := strings.Cut(path, "/")
	delete(b.Files, "resources/"+resource+"/v1-preferredversion/"+rest)
}

// verify verifies and returns the steps of each backup.
func (s *storage) verify(status int, prefix string, args ...string) map[string]map[string]check.Result {
	s.Helper()
	out, _ := s.read(status, prefix, append([]string{"verify", "-o", "json"}, args...)...)
	var told struct {
		OK      bool
		Steps   []check.Result
		Backups []struct {
			Subject string
			OK      bool
			Steps   []check.Result
		}
	}
	require.NoError(s, json.Unmarshal([]byte(out), &told))
	require.Equal(s, status == exitOK, told.OK)
	all := map[string]map[string]check.Result{"": byName(told.Steps)}
	for _, b := range told.Backups {
		all[b.Subject] = byName(b.Steps)
	}
	return all
}

// TestVerifyDamage does every damage to a good backup, and wants the step that is
// about it, and no success, to say so. There is no step of a good backup that nothing
// makes fail.
func TestVerifyDamage(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	s.store("good", backuptest.New("nightly").Objects(t))
	all, fails := damages(t), map[string]bool{}
	require.Greater(t, len(all), 60)
	for _, d := range all {
		fails[d.step] = fails[d.step] || d.outcome == ""
	}
	for step := range s.verify(exitOK, "good", "nightly")["nightly"] {
		require.True(t, fails[step], step)
	}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			s := s.of(t)
			b := backuptest.New("nightly")
			if d.before != nil {
				d.before(b)
			}
			objects := b.Objects(t)
			if d.after != nil {
				d.after(objects)
			}
			s.store(name, objects)
			wanted, status := d.outcome, exitOK
			if wanted == "" {
				wanted, status = check.Failed, exitFailed
			}
			step := s.verify(status, name, "nightly")["nightly"][d.step]
			require.Equal(t, wanted, step.Outcome, "%+v", step)
			require.Contains(t, step.Detail, d.says)
			require.NotEmpty(t, step.Hint)
		})
	}
}

// TestVerifyReadOnly: a location to which Velero writes nothing is told.
func TestVerifyReadOnly(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	s.store("velero", backuptest.New("nightly").Objects(t))
	location := func(mode string) string {
		path := filepath.Join(t.TempDir(), "location.yaml")
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: default, namespace: velero}
spec: {provider: longshore.dev/s3-csi, accessMode: %s, config: {s3Url: %q}, objectStorage: {bucket: %s, prefix: velero}}
`, mode, s.Endpoint, bucket), 0o600))
		return path
	}
	for mode, warned := range map[string]bool{"ReadOnly": true, "ReadWrite": false} {
		var out, errs bytes.Buffer
		status := Run([]string{"verify", "nightly", "-o", "json", "--file", location(mode), "--credentials-file", s.CredentialsFile}, "test", &out, &errs)
		require.Equal(t, exitOK, status, "%s%s", out.String(), errs.String())
		var told struct{ Steps []check.Result }
		require.NoError(t, json.Unmarshal(out.Bytes(), &told))
		step, is := byName(told.Steps)["access mode"]
		require.Equal(t, warned, is)
		if warned {
			require.Equal(t, check.Warning, step.Outcome)
			require.Contains(t, step.Detail, "it is ReadOnly")
		}
	}
}

// TestVerify has good backups, which pass every step.
func TestVerify(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	name := func(n string) string { return "nightly-2026112" + n + "010000" }
	unfinished := backuptest.New(name("8"))
	unfinished.Status()["phase"] = "InProgress"
	elsewhere := backuptest.New("nightly-eu-20261130010000")
	elsewhere.Metadata["metadata"].(map[string]any)["labels"] = map[string]any{"velero.io/schedule-name": "nightly-eu"}
	older := backuptest.New(name("5")) // as Velero 1.14 writes it
	delete(older.First("-volumeinfo.json.gz"), "result")
	delete(older.First("-volumeinfo.json.gz")["nativeSnapshotInfo"].(map[string]any), "Phase")
	for _, b := range []*backuptest.Backup{older, backuptest.New(name("7")), elsewhere} {
		s.store("good", b.Objects(t))
		s.store("going on", b.Objects(t))
	}
	s.store("going on", unfinished.Objects(t))

	all := s.verify(exitOK, "good", "--all")
	require.Len(t, all, 4)
	for backup, steps := range all {
		for _, step := range steps {
			require.Equal(t, check.OK, step.Outcome, "%s: %+v", backup, step)
		}
		if backup != "" {
			require.Len(t, steps, 11)
			require.Equal(t, "5 items", steps["archive"].Detail)
		}
	}
	require.Equal(t, check.Skipped, s.verify(exitOK, "good", "--all", "--no-archive")[name("7")]["archive"].Outcome)

	out, said := s.read(exitOK, "going on", "verify", "--latest-of", "nightly")
	require.Contains(t, out, "backup "+name("7"))
	require.Contains(t, out, "All that was read is whole.")
	require.Contains(t, said, name("8"))
	s.verify(exitFailed, "going on", "--all")

	_, said = s.read(exitUsage, "good", "verify", "--latest-of", "weekly")
	require.Contains(t, said, "no backup of schedule weekly among the 3")
	require.Contains(t, s.verify(exitFailed, "good", "nightly-20261127")["nightly-20261127"]["objects"].Detail, "did you mean")

	s.store("good", map[string][]byte{"photos/cat.jpg": []byte("x")})
	require.Contains(t, s.verify(exitFailed, "good", name("7"))[""]["folders"].Detail, "is photos")
	for says, args := range map[string][]string{
		"say which backup": {}, "exclude each other": {"--all", "a"}, "is no name": {"a/b"}, "unknown flag": {"--al"},
	} {
		_, said := s.read(exitUsage, "good", append([]string{"verify"}, args...)...)
		require.Contains(t, said, says)
	}
}

// kept are the objects of a bucket in memory, by key.
type kept map[string][]byte

func (k kept) GetObject(_ context.Context, _, key string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(k[key])), nil
}

func (k kept) ListObjects(_ context.Context, _, prefix string) (keys []string, err error) {
	for key := range k {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (k kept) ListCommonPrefixes(_ context.Context, _, prefix, delimiter string) ([]string, error) {
	found := map[string]bool{}
	for key := range k {
		if folder, _, in := strings.Cut(strings.TrimPrefix(key, prefix), delimiter); in && strings.HasPrefix(key, prefix) {
			found[prefix+folder+delimiter] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// interrupter is an output that interrupts the command when a text is written.
type interrupter struct {
	bytes.Buffer
	text string
	stop context.CancelFunc
}

func (s *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.text)) {
		s.stop()
	}
	return s.Buffer.Write(p)
}

// TestVerifyInterruptedBetween: a Ctrl-C between two backups leaves the second one out,
// which is no success.
func TestVerifyInterruptedBetween(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	objects := kept(backuptest.New("a").Objects(t))
	maps.Copy(objects, backuptest.New("b").Objects(t))
	out := &interrupter{text: "  archive  ", stop: stop} // the last step of a
	v := &verifying{reading: newReading("verify", verifyUsage, out, io.Discard), noCluster: true}
	err := v.verify(ctx, &opened{Location: backups.At(objects, bucket, "")}, []string{"a", "b"})
	require.Contains(t, out.String(), "All that was read is whole")
	require.NotContains(t, out.String(), "backup b")
	require.ErrorIs(t, err, context.Canceled)
}

// TestVerifyAllWhileVeleroDeletes: a backup that Velero deletes while all are verified is
// left out. One that was named, or that lacks objects for another reason, fails.
func TestVerifyAllWhileVeleroDeletes(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	const all = 100
	for name, c := range map[string]struct {
		now, later int  // objects that go when the backups were listed, and each time that the backup is looked at
		valid      bool // the backup has not expired
		named      bool
		fails      bool
	}{
		"before it is looked at":     {now: all, valid: true},
		"after it was looked at":     {later: all, valid: true},
		"object by object":           {now: 2, later: 1},
		"object by object, later":    {later: 1},
		"named":                      {now: 2, later: 1, named: true, fails: true},
		"objects are lost":           {now: 2, fails: true},
		"objects vanish before time": {now: 2, later: 1, valid: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.of(t)
			going := backuptest.New("a")
			if !c.valid {
				going.Status()["expiration"] = backuptest.Started
			}
			s.store(name, going.Objects(t))
			s.store(name, backuptest.New("b").Objects(t))
			args, status := []string{"--all"}, exitOK
			if c.named {
				args = []string{"a", "b"}
			}
			if c.fails {
				status = exitFailed
			}
			file := filepath.Join(t.TempDir(), "verify.prom")
			steps := s.deleting(name+"/backups/", c.now, c.later).verify(status, name, append(args, "--metrics", file)...)
			told, err := os.ReadFile(file)
			require.NoError(t, err)
			if c.fails {
				require.Contains(t, string(told), `schedule="nightly"} 2`)
				return
			}
			outcomes := map[check.Outcome]int{}
			for _, step := range steps["a"] {
				outcomes[step.Outcome]++
			}
			require.Equal(t, 1, outcomes[check.Skipped], "%+v", steps["a"])
			require.Zero(t, outcomes[check.Failed], "%+v", steps["a"])
			require.Contains(t, string(told), `longshore_verify_backups{bucket="`+bucket+`",prefix="`+name+`",schedule="nightly"} 1`)
		})
	}
}

// deleting is the storage while Velero deletes backup a of a folder, one object after the
// other: now of them when the backups were listed, later of them when those of a were.
func (s *storage) deleting(folder string, now, later int) *storage {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	remove := func(count int) {
		keys, err := s.Keys(s.Context(), bucket, folder+"a/")
		require.NoError(s, err)
		for _, key := range keys[:min(count, len(keys))] {
			require.NoError(s, client.RemoveObject(s.Context(), bucket, key, minio.RemoveObjectOptions{}))
		}
	}
	behind := *s.S3
	behind.Endpoint = s.through(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, r)
		switch r.URL.Query().Get("prefix") {
		case folder:
			remove(now)
			now = 0
		case folder + "a/":
			remove(later)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	return &storage{s.T, &behind}
}

// TestVerifyVolumesInterrupted: a person who interrupts it is told what is removed
// first, and what another Ctrl-C leaves.
func TestVerifyVolumesInterrupted(t *testing.T) {
	alone(t)
	var interrupt sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt.Do(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGINT) }) // a second one would end the tests
		<-r.Context().Done()
	}))
	defer server.Close()
	credentials := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, testbed.WriteCredentials(credentials, "access", "secretsecretsecret"))
	var out, said bytes.Buffer
	got := Run([]string{
		"verify", "nightly", "--restore-volumes", "--kubeconfig", testbed.Kubeconfig(t, server.URL), "--bucket", bucket,
		"--config", "s3Url=" + server.URL, "--config", "region=us-east-1", "--credentials-file", credentials,
	}, "test", &out, &said)
	require.Equal(t, exitFailed, got, "%s%s", out.String(), said.String())
	require.Equal(t, "\nvelero-plugin-longshore: interrupted; "+verify.CleanUpNotice()+"\nvelero-plugin-longshore: interrupted\n", said.String())
	for _, says := range []string{"for 5m0s at most", "Ctrl-C once more", "longshore-restore-", "velero-plugin-longshore sweep"} {
		require.Contains(t, said.String(), says)
	}
}
