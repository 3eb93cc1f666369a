package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/journal"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// storedList is the list that every backup has stored.
type storedList struct {
	ids    []string
	stored bool
	err    error
}

// SnapshotIDs implements StoredLists.
func (l storedList) SnapshotIDs(_ context.Context, location, store, _ string) ([]string, bool, error) {
	if location != "default" || store != "http://s3 bucket/prefix" {
		return nil, false, fmt.Errorf("asked for location %q at %q", location, store)
	}
	return l.ids, l.stored, l.err
}

// veleroKinds are those kinds of Velero that the plugin reads. The real ones are in
// internal/e2e.
var veleroKinds = map[string]string{"backups": "Backup", "backupstoragelocations": "BackupStorageLocation"}

// defineVelero has the cluster know Velero's kinds, and a storage location for the
// length of the test. The kinds stay: namespaces are deleted late where some have just
// gone.
func (b *bench) defineVelero() {
	b.Helper()
	for plural, kind := range veleroKinds {
		require.NoError(b, b.Apply(b.Context(), fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.velero.io}
spec:
  group: velero.io
  scope: Namespaced
  names: {plural: %[1]s, singular: %[2]s, kind: %[3]s}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, plural, strings.ToLower(kind), kind)))
	}
	require.Eventually(b, func() bool {
		_, err := b.veleroKind("backups").List(b.Context(), metav1.ListOptions{})
		_, errLocations := b.veleroKind("backupstoragelocations").List(b.Context(), metav1.ListOptions{})
		return err == nil && errLocations == nil
	}, 20*time.Second, 50*time.Millisecond)
	b.makeVelero("backupstoragelocations", "default", map[string]any{"spec": map[string]any{
		"config": map[string]any{"s3Url": "http://s3"}, "objectStorage": map[string]any{"bucket": "bucket", "prefix": "prefix"},
	}})
}

func (b *bench) veleroKind(plural string) dynamic.ResourceInterface {
	return b.Dynamic.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: plural}).Namespace("velero")
}

// backUpAs makes a Backup that ended three hours ago, and returns its UID.
func (b *bench) backUpAs(name, phase string) types.UID {
	b.Helper()
	return b.backUpTo(name, map[string]any{"phase": phase, "completionTimestamp": time.Now().Add(-3 * time.Hour).UTC().Format(time.RFC3339)})
}

func (b *bench) backUpTo(name string, status map[string]any) types.UID {
	b.Helper()
	return b.makeVelero("backups", name, map[string]any{"spec": map[string]any{"storageLocation": "default"}, "status": status})
}

func (b *bench) makeVelero(plural, name string, content map[string]any) types.UID {
	b.Helper()
	content["apiVersion"], content["kind"], content["metadata"] = "velero.io/v1", veleroKinds[plural], map[string]any{"name": name}
	made, err := b.veleroKind(plural).Create(b.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, b.veleroKind(plural).Delete(b.background(), name, metav1.DeleteOptions{})) })
	return made.GetUID()
}

func idOf(handle string, mode corev1.PersistentVolumeMode) string {
	return ids.SnapshotID{Driver: "driver", Handle: handle, Size: 1, Mode: mode, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}.String()
}

// TestClusterJournalRules goes through the table of docs/architecture.md.
func TestClusterJournalRules(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	mine := idOf("mine", corev1.PersistentVolumeFilesystem)
	list := func(handles ...string) storedList {
		l := storedList{stored: true}
		for _, handle := range handles {
			l.ids = append(l.ids, idOf(handle, corev1.PersistentVolumeBlock)) // the rest of an ID may differ
		}
		return l
	}
	const forget, remove, leave = "forget it", "remove it", "leave it:"
	for name, c := range map[string]struct {
		phase  string // "" if the Backup is gone
		noEnd  bool   // the Backup does not say when it ended
		uid    types.UID
		unread bool // the Backup could not be read when the snapshot was taken
		placed bool // since then a person has said where its list would be
		list   storedList
		later  time.Duration // than the deadline of the call
		remedy string
	}{
		"completed, named":                    {phase: phaseCompleted, list: list("mine"), remedy: forget},
		"completed, not named":                {phase: phaseCompleted, list: list("other"), remedy: remove},
		"completed, no list":                  {phase: phaseCompleted, remedy: leave},
		"completed, the storage is away":      {phase: phaseCompleted, list: storedList{err: errors.New("connection refused")}, remedy: leave},
		"failed, named":                       {phase: phaseFailed, list: list("other", "mine"), remedy: forget},
		"failed, not named":                   {phase: phaseFailed, list: list("other"), remedy: remove},
		"failed, no list":                     {phase: phaseFailed, remedy: remove},
		"failed, the list has another plugin": {phase: phaseFailed, list: storedList{ids: []string{"snap-0123", ""}, stored: true}, remedy: remove},
		"failed, an ID that cannot be read":   {phase: phaseFailed, list: storedList{ids: []string{"csi://driver/mine?v=9"}, stored: true}, remedy: leave},
		"failed, the storage is away":         {phase: phaseFailed, list: storedList{err: errors.New("connection refused")}, remedy: leave},
		"failed to be stored, not for long":   {phase: phaseFailed, noEnd: true, later: 23 * time.Hour},
		"failed to be stored":                 {phase: phaseFailed, noEnd: true, later: 25 * time.Hour, remedy: remove},
		"failed, the location is for others":  {phase: phaseFailed, list: storedList{err: fmt.Errorf("bucket: %w", ErrNotOpen)}},
		"partially failed, named":             {phase: phasePartiallyFailed, list: list("mine"), remedy: forget},
		"partially failed, not named":         {phase: phasePartiallyFailed, list: list("other"), remedy: remove},
		"partially failed, no list":           {phase: phasePartiallyFailed, remedy: leave},
		"running":                             {phase: "InProgress"},
		"finalizing":                          {phase: "Finalizing"},
		"being deleted":                       {phase: "Deleting"},
		"gone, not for long":                  {later: 23 * time.Hour},
		"gone for a day":                      {later: 25 * time.Hour, remedy: remove},
		"gone, the storage is away":           {later: 25 * time.Hour, list: storedList{err: errors.New("timeout")}, remedy: leave},
		"gone, named":                         {later: 25 * time.Hour, list: list("mine"), remedy: forget},
		"another of its name, not for long":   {phase: phaseFailed, uid: "before", later: 2 * time.Hour},
		"another of its name":                 {phase: phaseFailed, uid: "before", later: 25 * time.Hour, remedy: remove},
		"not read":                            {unread: true, phase: phaseFailed, later: 25 * time.Hour, remedy: leave},
		"not read, placed, not for long":      {unread: true, placed: true, later: 23 * time.Hour},
		"not read, placed":                    {unread: true, placed: true, later: 25 * time.Hour, remedy: remove},
		"not read, placed, named":             {unread: true, placed: true, later: 25 * time.Hour, list: list("mine"), remedy: forget},
		"not read, placed, one runs":          {unread: true, placed: true, phase: "InProgress", later: 25 * time.Hour},
		"not read, placed, one has failed":    {unread: true, placed: true, phase: phaseFailed, later: 2 * time.Hour},
		"not read, placed, one failed before": {unread: true, placed: true, phase: phaseFailed, later: 25 * time.Hour, remedy: remove},
		"not read, placed, one has no list":   {unread: true, placed: true, phase: phaseCompleted, later: 25 * time.Hour, remedy: leave},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.Snapshotter}
			backup := journal.Backup{Name: "b-" + uuid.NewString(), UID: "gone", Location: "default", Store: "http://s3 bucket/prefix"}
			switch {
			case c.noEnd:
				backup.UID = b.backUpTo(backup.Name, map[string]any{"phase": c.phase})
			case c.phase != "":
				backup.UID = b.backUpAs(backup.Name, c.phase)
			}
			if c.uid != "" {
				backup.UID = c.uid
			}
			if c.unread {
				backup.UID = ""
			}
			if c.unread && !c.placed {
				backup.Location, backup.Store = "", ""
			}
			s := b.open(nil).WithLists(c.list)
			call := s.newCall(objects.Snapshot, time.Second)
			require.NoError(t, s.journal().Add(t.Context(), backup, call, string(call.UID), mine))
			t.Cleanup(func() { s.noteDeleted(b.background(), mine) })
			s.now = func() time.Time { return call.Deadline.Add(c.later + time.Minute) }

			found, err := s.FindLeftovers(t.Context())
			require.NoError(t, err)
			found = slices.DeleteFunc(found, func(l Leftover) bool { return l.Backup != backup.Name })
			if c.remedy == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0].Remedy, c.remedy)
		})
	}
}

// TestClusterJournal writes down what many calls took at once, in the bounds of a
// ConfigMap, while others take out what they wrote.
func TestClusterJournal(t *testing.T) {
	b := onCluster(t, map[string]string{"kubeQPS": "1000", "kubeBurst": "1000"})
	j, backup := b.journal(), journal.Backup{Name: "many-" + uuid.NewString()}
	const calls, kept = 24, 18
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			id := idOf(fmt.Sprint(i, strings.Repeat("h", 40<<10)), corev1.PersistentVolumeFilesystem)
			err := j.Add(t.Context(), backup, b.newCall(objects.Snapshot, time.Minute), fmt.Sprint(i), id)
			if err == nil && i >= kept {
				b.noteDeleted(t.Context(), id)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	pages, err := j.Pages(t.Context())
	require.NoError(t, err)
	ours, written := 0, 0
	for _, page := range pages {
		if page.Backup.Name == backup.Name {
			ours, written = ours+1, written+len(page.IDs)
			require.NoError(t, j.Remove(t.Context(), page, allOf(page)...))
			_, err := b.Kube.CoreV1().ConfigMaps("velero").Get(t.Context(), page.Name(), metav1.GetOptions{})
			require.True(t, apierrors.IsNotFound(err), "%v", err)
		}
	}
	require.Equal(t, kept, written)
	require.Greater(t, ours, 1, "%d IDs of 40 KB do not fit into one", calls)
}
