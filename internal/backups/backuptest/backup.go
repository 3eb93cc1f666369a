// Package backuptest makes backups as Velero writes them, for tests that read or
// damage them.
package backuptest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Backup is a backup, of which a test may change what it likes before it is
// written.
type Backup struct {
	Name     string
	Metadata map[string]any
	// Files are the files of the archive by their path; all have the time Made.
	Files map[string]string
	Made  time.Time
	Items map[string][]string
	// Lists are the other lists by the end of their names, as values to encode.
	Lists map[string]any
	Log   string
}

// Started is when all these backups began.
var Started = time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)

const uid = "5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5e"

// New makes a good backup of the namespace shop: a config map, a claim with its
// volume and snapshot, a volume that was skipped.
func New(name string) *Backup {
	b := &Backup{Name: name, Made: Started.Add(5 * time.Second), Files: map[string]string{"metadata/version": "1.1.0\n"}, Items: map[string][]string{}}
	b.Metadata = map[string]any{
		"kind": "Backup", "apiVersion": "velero.io/v1",
		"metadata": map[string]any{
			"name": name, "namespace": "velero", "uid": uid,
			"labels":      map[string]any{"velero.io/storage-location": "default", "velero.io/schedule-name": "nightly"},
			"annotations": map[string]any{"velero.io/source-cluster-k8s-gitversion": "v1.36.2"},
		},
		"spec": map[string]any{"includedNamespaces": []string{"shop"}, "storageLocation": "default"},
		"status": map[string]any{
			"phase": "Completed", "formatVersion": "1.1.0", "version": 1,
			"startTimestamp": Started, "completionTimestamp": Started.Add(10 * time.Second), "expiration": Started.AddDate(100, 0, 0),
			"warnings": 1, "progress": map[string]any{"totalItems": 5, "itemsBackedUp": 5},
			"volumeSnapshotsAttempted": 1, "volumeSnapshotsCompleted": 1, "hookStatus": map[string]any{},
		},
	}
	b.AddItem("v1", "Namespace", "namespaces", "", "shop", nil)
	b.AddItem("v1", "ConfigMap", "configmaps", "shop", "settings", nil)
	b.AddItem("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "shop", "data", map[string]any{"volumeName": "pvc-1"})
	b.AddItem("v1", "PersistentVolume", "persistentvolumes", "", "pvc-1", map[string]any{"capacity": map[string]any{"storage": "10Gi"}})
	b.AddItem("v1", "PersistentVolume", "persistentvolumes", "", "pvc-2", map[string]any{"capacity": map[string]any{"storage": "1Gi"}})
	b.Lists = map[string]any{
		"-volumesnapshots.json.gz":  []any{snapshot(name)},
		"-volumeinfo.json.gz":       []any{volume(), skipped()},
		"-podvolumebackups.json.gz": nil,
		"-itemoperations.json.gz":   nil,
		"-results.gz":               map[string]any{"errors": map[string]any{}, "warnings": map[string]any{"namespaces": map[string]any{"shop": []string{"one of them"}}}},
		"-resource-list.json.gz":    b.Items,
	}
	b.Log = fmt.Sprintf("time=\"2026-11-27T01:00:00Z\" level=info msg=\"Backing up item\" backup=velero/%s name=settings\n", name)
	return b
}

// SnapshotID is the ID of the one snapshot.
const SnapshotID = "csi://hostpath.csi.k8s.io/6f1c?v=2&size=10Gi&mode=Filesystem&access=ReadWriteOnce&class=fast&claim=shop/data&pv=pvc-1"

func snapshot(backup string) map[string]any {
	return map[string]any{
		"spec": map[string]any{
			"backupName": backup, "backupUID": uid, "location": "default", "persistentVolumeName": "pvc-1", "providerVolumeID": "csi-volume://d/h",
		},
		"status": map[string]any{"providerSnapshotID": SnapshotID, "phase": "Completed"},
	}
}

func volume() map[string]any {
	return map[string]any{
		"pvcName": "data", "pvcNamespace": "shop", "pvName": "pvc-1", "backupMethod": "NativeSnapshot", "result": "succeeded",
		"nativeSnapshotInfo": map[string]any{"snapshotHandle": SnapshotID, "iops": "0", "Phase": "Completed"},
	}
}

func skipped() map[string]any {
	return map[string]any{"pvName": "pvc-2", "skipped": true, "skippedReason": "skipped due to resource policy "}
}

// AddItem adds an item to the archive and to the list of items.
func (b *Backup) AddItem(apiVersion, kind, resource, namespace, name string, spec map[string]any) {
	item := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec}
	content, err := json.Marshal(item)
	if err != nil {
		panic(err)
	}
	scope := "cluster/"
	if namespace != "" {
		scope = "namespaces/" + namespace + "/"
	}
	version := apiVersion[strings.LastIndex(apiVersion, "/")+1:]
	b.Files["resources/"+resource+"/"+scope+name+".json"] = string(content)
	b.Files["resources/"+resource+"/"+version+"-preferredversion/"+scope+name+".json"] = string(content)
	b.Items[apiVersion+"/"+kind] = append(b.Items[apiVersion+"/"+kind], strings.TrimPrefix(namespace+"/"+name, "/"))
}

// Status is the status in the metadata.
func (b *Backup) Status() map[string]any { return b.Metadata["status"].(map[string]any) }

// First is the first entry of a list of objects.
func (b *Backup) First(list string) map[string]any { return b.Lists[list].([]any)[0].(map[string]any) }

// Objects are the objects of the backup by their keys below the location's prefix.
func (b *Backup) Objects(t testing.TB) map[string][]byte {
	t.Helper()
	folder := "backups/" + b.Name + "/"
	objects := map[string][]byte{
		folder + "velero-backup.json":                          encode(t, b.Metadata),
		folder + b.Name + "-logs.gz":                           Gzip(t, []byte(b.Log)),
		folder + b.Name + ".tar.gz":                            Gzip(t, b.Tar(t)),
		folder + b.Name + "-csi-volumesnapshotclasses.json.gz": Gzip(t, []byte("[]\n")),
	}
	for name, list := range b.Lists {
		objects[folder+b.Name+name] = Gzip(t, encode(t, list))
	}
	return objects
}

// Tar is the archive, not compressed.
func (b *Backup) Tar(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, path := range slices.Sorted(maps.Keys(b.Files)) {
		content := b.Files[path]
		require.NoError(t, w.WriteHeader(&tar.Header{Name: path, Size: int64(len(content)), Mode: 0o755, ModTime: b.Made, Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return append(text, '\n')
}

// Gzip compresses content.
func Gzip(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}
