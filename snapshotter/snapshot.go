package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// tagBackup is the tag by which Velero tells the backup's name.
const tagBackup = "velero.io/backup"

// CreateSnapshot takes a snapshot of the volume and returns its ID. When it
// returns, no object of it is left in the cluster; the snapshot is in the
// storage, and only its ID knows it.
//
// A repeated call for the same Backup, after a crash for instance, goes on where
// the first ended and returns the same snapshot. A call that fails removes the
// snapshot that may have been begun.
//
// The snapshot is asked for by a VolumeSnapshotContent alone. A VolumeSnapshot
// would only have the snapshot controller make the same content, with a dozen
// requests of its own, of which it allows itself five a second: the time of each
// volume would grow with their number. It would also stand in the application's
// namespace, and take the snapshot along when that is deleted.
func (s *Snapshotter) CreateSnapshot(ctx context.Context, volumeID, _ string, tags map[string]string) (string, error) {
	id, err := ids.ParseVolumeID(volumeID)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.SnapshotTimeout)
	defer cancel()
	snapshot, err := s.snapshot(ctx, id, tags[tagBackup])
	if err != nil {
		return "", fmt.Errorf("take a snapshot of volume %s of driver %s (PersistentVolume %s): %w", id.Handle, id.Driver, id.PV, err)
	}
	s.sweepOnce(ctx)
	return snapshot.String(), nil
}

// shot is one snapshot being taken.
type shot struct {
	*Snapshotter
	request
	source
	id     ids.VolumeID
	backup backup
	class  *snapshotv1.VolumeSnapshotClass
	log    logrus.FieldLogger
}

func (s *Snapshotter) snapshot(ctx context.Context, id ids.VolumeID, backupName string) (ids.SnapshotID, error) {
	volume, err := s.find(ctx, id)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	class, err := s.classFor(ctx, id.Driver, volume)
	if err != nil {
		return ids.SnapshotID{}, fmt.Errorf("claim %s: %w", volume.claimName(), err)
	}
	b := s.backupNamed(ctx, backupName)
	r := snapshotRequest(id, b)
	log := s.logFor(r).WithFields(logrus.Fields{"persistentVolume": id.PV, "claim": volume.claimName(), "snapshotClass": class.Name})
	return shot{s, r, volume, id, b, class, log}.take(ctx)
}

// take takes the snapshot. A content that vanishes meanwhile has most likely been
// detached by the same call made a second time, which may end the other in any
// step. Only the driver knows whether the snapshot is there, so it is asked again:
// for the same name it answers with the same snapshot.
func (s shot) take(ctx context.Context) (ids.SnapshotID, error) {
	wanted, err := s.content(ctx)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	id, err := s.attempt(ctx, wanted)
	if errors.Is(err, errVanished) {
		s.log.WithError(err).Info("ask for the snapshot again")
		id, err = s.attempt(ctx, wanted)
	}
	return id, err
}

func (s shot) attempt(ctx context.Context, wanted *snapshotv1.VolumeSnapshotContent) (ids.SnapshotID, error) {
	content, err := s.begin(ctx, wanted)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	stop := s.unmarkSoon(ctx, content)
	cut, err := s.cut(ctx, content)
	stop()
	if err == nil {
		err = s.detach(ctx, cut)
	}
	if err != nil && !errors.Is(err, errVanished) {
		s.discard(ctx, content, err) // else it is up to whoever removes it
	}
	if err != nil {
		return ids.SnapshotID{}, err
	}
	s.log.WithField("handle", handleOf(cut)).Info("snapshot taken")
	return s.describe(cut), nil
}

// content is the content that asks for the snapshot, as the snapshot controller
// would make it. The marks it would add later are there from the start, which
// spares it and the sidecar a request each: the finalizer; that the content may
// be deleted though there is no VolumeSnapshot; and that the driver may have
// been asked, without which a deletion would not wait for the driver's answer.
func (s shot) content(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
	owner, err := s.ownerNode(ctx, s.volume)
	if err != nil {
		return nil, err
	}
	secret, err := classes.CreateSecret(s.class, classes.SnapshotNames{Content: s.name, Snapshot: s.name, Namespace: s.claim.Namespace})
	if err != nil {
		return nil, err
	}
	if _, err := classes.ListSecret(s.class, s.name); err != nil {
		return nil, err
	}
	marks := map[string]string{annotationBeingDeleted: "yes", annotationBeingCreated: "yes"}
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: s.meta("", classes.DeleteAnnotations(secret), marks, map[string]string{annotationClaim: s.claimName()}),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy:          snapshotv1.VolumeSnapshotContentDelete,
			Driver:                  s.id.Driver,
			VolumeSnapshotClassName: &s.class.Name,
			Source:                  snapshotv1.VolumeSnapshotContentSource{VolumeHandle: &s.id.Handle},
			SourceVolumeMode:        s.volume.Spec.VolumeMode,
			VolumeSnapshotRef: corev1.ObjectReference{
				APIVersion: snapshotv1.SchemeGroupVersion.String(), Kind: "VolumeSnapshot",
				Namespace: s.claim.Namespace, Name: s.name, UID: s.backup.snapshotUID(s.id),
			},
		},
	}
	content.Finalizers = []string{finalizerContent}
	if owner != "" {
		content.Labels[labelManagedByNode] = owner
	}
	return content, nil
}

// begin makes the content, or finds the one of an earlier call.
func (s shot) begin(ctx context.Context, wanted *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	client := s.kube.VolumeSnapshotContents()
	for {
		made, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
			return client.Create(ctx, wanted, metav1.CreateOptions{})
		})
		if !apierrors.IsAlreadyExists(err) {
			return made, wrap(err, "create %s", describeContent(s.name))
		}
		found, err := s.resume(ctx)
		if found != nil || err != nil {
			return found, err
		}
	}
}

// resume returns the content of an earlier call for the same backup, nil if it
// is gone or had to go.
func (s shot) resume(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
	found, err := s.getContent(ctx, s.name)
	if err != nil || found == nil {
		return nil, err
	}
	if !s.made(found) {
		return nil, fmt.Errorf("%s exists and is not of this plugin's making", describeContent(s.name))
	}
	if found.DeletionTimestamp != nil {
		s.log.Info("wait for the removal of what an earlier call left")
		return nil, gone(ctx, s.kube.VolumeSnapshotContents(), describeContent(s.name), found)
	}
	if s.backup.uid == "" && time.Since(found.CreationTimestamp.Time) > s.settings.SnapshotTimeout {
		s.log.WithField("created", found.CreationTimestamp).Warn("remove what an earlier backup of this name left")
		return nil, s.destroy(ctx, found)
	}
	s.log.Info("go on with the snapshot that an earlier call began")
	return found, nil
}

// describe returns the ID of the snapshot behind a content.
func (s shot) describe(content *snapshotv1.VolumeSnapshotContent) ids.SnapshotID {
	size := s.volume.Spec.Capacity[corev1.ResourceStorage]
	var restoreSize int64
	if content.Status.RestoreSize != nil {
		restoreSize = *content.Status.RestoreSize
	}
	mode := corev1.PersistentVolumeFilesystem
	if s.volume.Spec.VolumeMode != nil {
		mode = *s.volume.Spec.VolumeMode
	}
	list, _ := classes.ListSecret(s.class, content.Name) // content has seen the error
	return ids.SnapshotID{
		Driver:       s.id.Driver,
		Handle:       handleOf(content),
		Size:         max(size.Value(), restoreSize),
		Mode:         mode,
		AccessModes:  s.volume.Spec.AccessModes,
		Class:        s.class.Name,
		DeleteSecret: classes.DeleteSecretOf(content),
		ListSecret:   list,
		ManagedBy:    content.Labels[labelManagedByNode],
		Topology:     ids.TopologyOf(s.volume.Spec.NodeAffinity),
	}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
