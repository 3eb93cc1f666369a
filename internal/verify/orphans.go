package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// Labels of Velero on the VolumeSnapshotContents of its own CSI snapshots. Those of a
// restore belong to what was restored.
const (
	labelBackup  = "velero.io/backup-name"
	labelRestore = "velero.io/restore-name"
	// longName is from which length on a label may be a shortened name.
	longName = 63
)

// journalTimeout bounds the reading of the lists by which the journal is judged.
const journalTimeout = 5 * time.Minute

// snapshots looks for snapshots that no backup names: those of calls of this plugin that
// were killed, those that its journal has for a backup that is over, and those of Velero's
// own CSI support whose backup is gone. Kubernetes has no way to ask a driver for all its
// snapshots, so what only the storage knows of is not seen.
func (v *Verifier) snapshots(ctx context.Context) (string, error) {
	var f findings
	err := v.ofKilledCalls(ctx, &f)
	if err == nil {
		err = v.ofLostBackups(ctx, &f)
	}
	switch {
	case apierrors.IsNotFound(err):
		return "", check.Skip("the cluster has no VolumeSnapshotContents")
	case apierrors.IsForbidden(err) && len(f.odd) > 0:
		f.warn("not all was seen: %v", err)
	case apierrors.IsForbidden(err):
		return "", check.Skip("not seen: " + err.Error())
	case err != nil:
		return "", err
	}
	if len(f.odd) > 0 && v.known.unread > 0 {
		f.warn("the snapshots of %s could not be read, and may be among them", check.Count(v.known.unread, "backup"))
	}
	return f.end("none that the cluster knows of; what only the storage has cannot be listed from here",
		"velero-plugin-longshore sweep removes those of this plugin, with their snapshots (--dry-run lists them). Of one of Velero's own first make certain that no other location has its backup; "+
			"then set its deletionPolicy to Delete and delete it")
}

// ofKilledCalls finds the snapshots of calls of this plugin that have ended, which Velero
// was not given or has not stored.
func (v *Verifier) ofKilledCalls(ctx context.Context, f *findings) error {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	c := v.o.Cluster
	s, err := snapshotter.OpenOn(c.Kube, c.Namespace, c.log, nil)
	if err != nil {
		return err
	}
	left, err := s.WithLists(c.lists).FindLeftovers(ctx)
	for _, l := range left {
		switch {
		case l.Kind == "VolumeSnapshotContent" && l.Purpose == "snapshot":
			f.warn("VolumeSnapshotContent %s has a snapshot for backup %q that was never handed over", l.Name, l.Backup)
		case l.Kind == "Snapshot":
			f.warn("snapshot %s was taken for backup %q, and no stored list names it", l.Name, l.Backup)
		case l.Doubt && l.Since > 0: // else the page's calls may still run
			f.warn("%s %s: %s", l.Kind, l.Name, strings.TrimPrefix(l.Remedy, "leave it: "))
		}
	}
	return err
}

// ofLostBackups finds the contents of Velero's own whose backup is neither in the
// location nor, from another one, in the cluster.
func (v *Verifier) ofLostBackups(ctx context.Context, f *findings) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	c := v.o.Cluster
	all, err := c.Kube.VolumeSnapshotContents.List(ctx, labelBackup+",!"+labelRestore)
	if err != nil {
		return err
	}
	var lost []*snapshotv1.VolumeSnapshotContent
	for _, content := range all {
		backup := content.Labels[labelBackup]
		if !v.known.names[backup] && len(backup) < longName && !v.known.handles[handleOf(content)] {
			lost = append(lost, content)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	here, err := c.backups(ctx)
	if apierrors.IsForbidden(err) {
		f.warn("whether %s of Velero's own in this cluster has a backup elsewhere cannot be told: Backups of all namespaces may not be listed", check.Count(len(lost), "VolumeSnapshotContent"))
		return nil
	}
	if err != nil {
		return err
	}
	for _, content := range lost {
		if backup := content.Labels[labelBackup]; !here[backup] {
			f.warn("VolumeSnapshotContent %s is of backup %s, which is neither in this location nor in the cluster", content.Name, backup)
		}
	}
	return nil
}

func handleOf(c *snapshotv1.VolumeSnapshotContent) string {
	if c.Status != nil && c.Status.SnapshotHandle != nil {
		return *c.Status.SnapshotHandle
	}
	return ptr.Deref(c.Spec.Source.SnapshotHandle, "")
}

// backups are the names of the cluster's Backups, of every Velero there.
func (c *Cluster) backups(ctx context.Context) (map[string]bool, error) {
	var list metav1.PartialObjectMetadataList
	if _, err := c.read(ctx, "/apis/velero.io/v1/backups", &list); err != nil {
		return nil, fmt.Errorf("list Backups: %w", err)
	}
	names := map[string]bool{}
	for i := range list.Items { // none where there is no Velero
		names[list.Items[i].Name] = true
	}
	return names, nil
}
