package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// tagBackup is the tag by which Velero tells the backup's name.
const tagBackup = "velero.io/backup"

// CreateSnapshot takes a snapshot of the volume and returns its ID. When it
// returns, the snapshot is in the storage, and no object of it is left in the cluster
// but its ID in the journal of the backup, until that has stored its list, and the
// content of one that Velero goes on to follow, see Follow.
//
// The snapshot is asked for by a VolumeSnapshotContent alone. A VolumeSnapshot
// would stand in the application's namespace, and take the snapshot along when
// that is deleted. A call that fails has the driver delete what it may have begun;
// what a killed call leaves is deleted by a sweep.
func (s *Snapshotter) CreateSnapshot(ctx context.Context, volumeID, _ string, tags map[string]string) (string, error) {
	id, err := ids.ParseVolumeID(volumeID)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.SnapshotTimeout)
	defer cancel()
	keys, err := s.signingKeys(ctx)
	if err != nil {
		return "", err
	}
	snapshot, err := s.snapshot(ctx, id, tags[tagBackup], keys)
	if err != nil {
		return "", fmt.Errorf("take a snapshot of volume %s of driver %s (PersistentVolume %s): %w", ids.Short(id.Handle), id.Driver, id.PV, err)
	}
	s.sweepOnce(ctx)
	return snapshot, nil
}

// creation is one snapshot being taken.
type creation struct {
	*Snapshotter
	source
	call   objects.Call
	key    string // in the journal
	id     ids.VolumeID
	backup veleroBackup // empty if it cannot be read
	class  *snapshotv1.VolumeSnapshotClass
	wanted *snapshotv1.VolumeSnapshotContent // that asks for the snapshot
	keys   ids.Keys
	log    logrus.FieldLogger
	// operation is that by which Velero follows the snapshot, "" if it does not.
	operation string
}

func (s *Snapshotter) snapshot(ctx context.Context, id ids.VolumeID, name string, keys ids.Keys) (string, error) {
	volume, err := s.find(ctx, id)
	if err != nil {
		return "", err
	}
	c, err := s.prepareSnapshot(ctx, volume, name, s.backupOf(ctx, name), keys)
	if err != nil {
		return "", fmt.Errorf("claim %s: %w", cmp.Or(volume.claimRef().String(), "(none)"), err)
	}
	if g, grouped := c.groupOf(); grouped {
		return c.takeInGroup(ctx, g)
	}
	snapshot, _, err := c.take(ctx)
	return snapshot, err
}

// prepareSnapshot finds out all that the snapshot of a CSI volume needs, and changes nothing.
func (s *Snapshotter) prepareSnapshot(ctx context.Context, volume source, name string, backup veleroBackup, keys ids.Keys) (creation, error) {
	id := volumeIDOf(volume.volume)
	class, err := s.snapshotClassFor(ctx, id.Driver, volume, backup)
	if err != nil {
		return creation{}, err
	}
	call := s.newCall(objects.Snapshot, s.settings.SnapshotTimeout)
	call.Backup = name
	log := s.logFor(call).WithFields(logrus.Fields{"persistentVolume": id.PV, "claim": volume.claimRef().String(), "snapshotClass": class.Name})
	c := creation{s, volume, call, string(call.UID), id, backup, class, nil, keys, log, s.operationOf(name, id.PV)}
	c.wanted, err = c.content(ctx)
	return c, err
}

// take takes the snapshot, and returns its ID and its point in time. At every moment the
// cluster knows it, by the content or by the journal.
func (c creation) take(ctx context.Context) (id string, at time.Time, err error) {
	content, err := c.kube.VolumeSnapshotContents.Create(ctx, c.wanted)
	if err == nil {
		content, err = c.waitTaken(ctx, content)
	}
	if err == nil {
		id = c.keys.Sign(c.describe(content))
		err = c.writeDown(ctx, id)
	}
	if err == nil {
		err = c.singleContent(content).letGo(ctx, c.operation, c.log)
	}
	if err != nil {
		c.singleContent(content).discard(ctx, c.log, singleState.delete, id)
		return "", time.Time{}, err
	}
	c.log.WithField("handle", ids.Short(objects.Handle(content))).Info("snapshot taken")
	return id, objects.TakenAt(content), nil
}

// content is the VolumeSnapshotContent that asks for the snapshot. Its
// VolumeSnapshot never exists: the snapshot controllers then leave it alone, and
// csi-snapshotter alone acts on it (external-snapshotter 4.2 to 8.7).
func (c creation) content(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
	node, err := c.sidecarNode(ctx, c.volume)
	if err != nil {
		return nil, err
	}
	namespace := cmp.Or(c.claimRef().Namespace, c.settings.StagingNamespace)
	secret, err := classes.CreateSecret(c.class, classes.SnapshotNames{Content: c.call.Name(), Snapshot: c.call.Name(), Namespace: namespace})
	if err != nil {
		return nil, err
	}
	if _, err := classes.ListSecret(c.class, c.call.Name()); err != nil {
		return nil, err
	}
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: c.call.Meta("", classes.DeleteAnnotations(secret), map[string]string{
			objects.AnnotationBeingDeleted: "yes",
			objects.AnnotationClaim:        c.claimRef().String(),
		}),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy:          snapshotv1.VolumeSnapshotContentDelete,
			Driver:                  c.id.Driver,
			VolumeSnapshotClassName: &c.class.Name,
			Source:                  snapshotv1.VolumeSnapshotContentSource{VolumeHandle: &c.id.Handle},
			SourceVolumeMode:        c.volume.Spec.VolumeMode,
			VolumeSnapshotRef: corev1.ObjectReference{
				APIVersion: snapshotv1.SchemeGroupVersion.String(), Kind: "VolumeSnapshot",
				Namespace: namespace, Name: c.call.Name(), UID: c.call.UID,
			},
		},
	}
	content.Finalizers = []string{objects.FinalizerContent}
	if node != "" {
		content.Labels[objects.LabelManagedByNode] = node
	}
	return content, nil
}

// waitTaken waits until the storage has taken and named the snapshot, or, if so
// set, until it can be restored. csi-snapshotter has then no more to write.
func (c creation) waitTaken(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	ctx, errs := c.tolerate(ctx, c.log)
	defer errs.stop()
	until := "the snapshot's handle"
	if c.waitsForReady() {
		until = "the snapshot to be ready to restore (waitFor: " + c.settings.WaitFor + ")"
	}
	late := false
	content, err := c.singleContent(content).wait(ctx, errs, until, func(now *snapshotv1.VolumeSnapshotContent) (bool, error) {
		if objects.Handle(now) != "" && !objects.Ready(now) && !late {
			late = true
			c.noteDriver(ctx, false)
		}
		if message := objects.Message(now); message != "" && !c.taken(now) {
			return false, c.requireClass(ctx, message)
		}
		return c.taken(now), nil
	})
	if err == nil && !late {
		c.noteDriver(ctx, true)
	}
	return content, err
}

// requireClass fails if the VolumeSnapshotClass is gone, without which
// csi-snapshotter can neither ask the driver again nor let go of the content.
func (c creation) requireClass(ctx context.Context, message string) error {
	all, err := c.kube.VolumeSnapshotClasses.List(ctx, "") // rbac.yaml grants nothing else
	isThere := func(class *snapshotv1.VolumeSnapshotClass) bool { return class.Name == c.class.Name }
	if err == nil && !slices.ContainsFunc(all, isThere) {
		return fmt.Errorf("VolumeSnapshotClass %s was deleted while the snapshot was taken; what csi-snapshotter has begun ends when the class is there again (the driver says: %s)", c.class.Name, message)
	}
	if ctx.Err() != nil { // the driver may have failed for too long meanwhile
		return context.Cause(ctx)
	}
	return err
}

func (c creation) taken(content *snapshotv1.VolumeSnapshotContent) bool {
	return objects.Handle(content) != "" && !objects.Asking(content) && (!c.waitsForReady() || objects.Ready(content))
}

// describe returns the ID of the snapshot behind a content.
func (c creation) describe(content *snapshotv1.VolumeSnapshotContent) ids.SnapshotID {
	listSecret, _ := classes.ListSecret(c.class, content.Name) // looked at before it was taken
	spec := c.volume.Spec
	size := spec.Capacity[corev1.ResourceStorage]
	return ids.SnapshotID{
		Driver:       c.id.Driver,
		Handle:       objects.Handle(content),
		Size:         max(size.Value(), objects.RestoreSize(content)),
		Mode:         ptr.Deref(spec.VolumeMode, corev1.PersistentVolumeFilesystem),
		AccessModes:  spec.AccessModes,
		Class:        c.class.Name,
		DeleteSecret: classes.DeleteSecretOf(content),
		ListSecret:   listSecret,
		ManagedBy:    content.Labels[objects.LabelManagedByNode],
		Topology:     ids.TopologyOf(spec.NodeAffinity),

		AttributesClass: ptr.Deref(spec.VolumeAttributesClassName, ""),
		Claim:           c.claimRef(),
		PV:              c.volume.Name,
		Secrets:         ids.SecretsOf(c.volume),
	}
}
