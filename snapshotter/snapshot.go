package snapshotter

import (
	"cmp"
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// tagBackup is the tag by which Velero tells the backup's name.
const tagBackup = "velero.io/backup"

// CreateSnapshot takes a snapshot of the volume and returns its ID. When it
// returns, no object of it is left in the cluster; the snapshot is in the
// storage, and only its ID knows it.
//
// A repeated call, after a crash for instance, goes on where the first ended.
// When it fails, the snapshot that may have been begun is removed.
func (s *Snapshotter) CreateSnapshot(ctx context.Context, volumeID, _ string, tags map[string]string) (string, error) {
	id, err := ParseVolumeID(volumeID)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.SnapshotTimeout)
	defer cancel()
	snapshot, err := s.snapshot(ctx, id, tags[tagBackup])
	if err != nil {
		return "", fmt.Errorf("take a snapshot of volume %s of driver %s (PersistentVolume %s): %w", id.Handle, id.Driver, id.PV, err)
	}
	return snapshot.String(), nil
}

// shot is one snapshot being taken.
type shot struct {
	*Snapshotter
	request
	source
	id    VolumeID
	class *snapshotv1.VolumeSnapshotClass
	log   logrus.FieldLogger
}

func (s *Snapshotter) snapshot(ctx context.Context, id VolumeID, backup string) (SnapshotID, error) {
	volume, err := s.find(ctx, id)
	if err != nil {
		return SnapshotID{}, err
	}
	class, err := s.classFor(ctx, id.Driver, volume)
	if err != nil {
		return SnapshotID{}, fmt.Errorf("claim %s: %w", volume.claimName(), err)
	}
	r := snapshotRequest(id, backup)
	log := s.logFor(r).WithFields(logrus.Fields{"persistentVolume": id.PV, "claim": volume.claimName(), "snapshotClass": class.Name})
	return shot{s, r, volume, id, class, log}.take(ctx)
}

func (s shot) take(ctx context.Context) (SnapshotID, error) {
	content, err := s.detached(ctx)
	if err != nil {
		return SnapshotID{}, err
	}
	if content != nil {
		s.log.Info("found the snapshot that an earlier call took")
		return s.describe(content), s.release(ctx, nil, content)
	}
	vs, err := s.create(ctx)
	if err != nil {
		return SnapshotID{}, err
	}
	content, err = s.cut(ctx, vs)
	if err == nil {
		content, err = s.keep(ctx, content)
	}
	if err != nil {
		s.discard(ctx, vs)
		return SnapshotID{}, err
	}
	return s.describe(content), s.release(ctx, vs, content)
}

// create makes the VolumeSnapshot, or finds the one of an earlier call.
func (s shot) create(ctx context.Context) (*snapshotv1.VolumeSnapshot, error) {
	client := s.kube.VolumeSnapshots(s.claim.Namespace)
	vs := &snapshotv1.VolumeSnapshot{
		ObjectMeta: s.meta(s.claim.Namespace),
		Spec: snapshotv1.VolumeSnapshotSpec{
			Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &s.claim.Name},
			VolumeSnapshotClassName: &s.class.Name,
		},
	}
	for {
		made, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshot, error) {
			return client.Create(ctx, vs, metav1.CreateOptions{})
		})
		if !apierrors.IsAlreadyExists(err) {
			return made, wrap(err, "create %s", describeSnapshot(vs))
		}
		adopted, err := s.adopt(ctx)
		if adopted != nil || err != nil {
			return adopted, err
		}
	}
}

// adopt returns the VolumeSnapshot of an earlier call for the same backup. It
// returns nil when there is none any more: what is left of another backup of the
// same name shows an older state of the volume, and is removed.
func (s shot) adopt(ctx context.Context) (*snapshotv1.VolumeSnapshot, error) {
	vs, err := s.getVolumeSnapshot(ctx, s.claim.Namespace, s.name)
	if err != nil || vs == nil {
		return nil, err
	}
	if !s.made(vs) {
		return nil, fmt.Errorf("%s exists and is not of this plugin's making", describeSnapshot(vs))
	}
	if vs.DeletionTimestamp == nil && s.fresh(ctx, vs) {
		s.log.Info("go on with the VolumeSnapshot of an earlier call")
		return vs, nil
	}
	s.log.WithField("created", vs.CreationTimestamp).Warn("remove the VolumeSnapshot that an earlier backup of this name left")
	if err := s.destroy(ctx, vs); err != nil {
		return nil, fmt.Errorf("remove what an earlier backup of this name left: %w", err)
	}
	return nil, nil
}

// cut waits until the storage has cut the point in time and named the snapshot,
// or, if so set, until it can be restored.
func (s shot) cut(ctx context.Context, vs *snapshotv1.VolumeSnapshot) (*snapshotv1.VolumeSnapshotContent, error) {
	ctx, patience, stop := newPatience(ctx, s.settings.ErrorGracePeriod, s.log)
	defer stop()
	bound, err := kube.Until(ctx, s.kube.VolumeSnapshots(vs.Namespace),
		kube.Target{Name: vs.Name, Object: describeSnapshot(vs), Until: "its VolumeSnapshotContent, which the snapshot controller makes"},
		vs, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) { return s.isBound(ctx, patience, vs, now) })
	if err != nil {
		return nil, err
	}
	name := contentNameOf(bound)
	return kube.Until(ctx, s.kube.VolumeSnapshotContents(),
		kube.Target{Name: name, Object: fmt.Sprintf("%s of claim %s", describeContent(name), s.claimName()), Until: s.waitsFor()},
		nil, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) { return s.isCut(ctx, patience, now) })
}

func (s shot) waitsFor() string {
	if s.settings.WaitFor == waitForReady {
		return "the snapshot to be ready to restore (waitFor: ready); driver " + s.id.Driver + " and its csi-snapshotter have to act"
	}
	return "the snapshot's handle; driver " + s.id.Driver + " and its csi-snapshotter have to act"
}

func (s shot) isBound(ctx context.Context, p *patience, made, now *snapshotv1.VolumeSnapshot) (bool, string, error) {
	switch {
	case now == nil || now.UID != made.UID || now.DeletionTimestamp != nil:
		return false, "", fmt.Errorf("%s was deleted by someone else while its snapshot was taken", describeSnapshot(made))
	case now.Status == nil:
		return false, "no status yet", nil
	case now.Status.BoundVolumeSnapshotContentName != nil:
		return true, "", nil
	}
	message := messageOf(now.Status.Error)
	return false, message, s.judge(ctx, p, message)
}

func (s shot) isCut(ctx context.Context, p *patience, now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
	if now == nil || now.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("the VolumeSnapshotContent of claim %s was deleted by someone else while its snapshot was taken", s.claimName())
	}
	if handleOf(now) != "" && (s.settings.WaitFor != waitForReady || isReady(now)) {
		return true, "", nil
	}
	message := contentMessage(now)
	return false, cmp.Or(message, "handle "+fmt.Sprintf("%q", handleOf(now))+", not ready"), s.judge(ctx, p, message)
}

// judge bears an error of the driver, unless looking at what the snapshot needs
// shows that it cannot get better.
func (s shot) judge(ctx context.Context, p *patience, message string) error {
	if message == "" || !p.failing(message) {
		return nil
	}
	if _, err := s.find(ctx, s.id); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (the snapshot controller says: %s)", err, message)
	}
	classes, err := s.listClasses(ctx)
	if err == nil && classOf(classes, s.class.Name) == nil {
		return fmt.Errorf("VolumeSnapshotClass %s was deleted while the snapshot was taken (the snapshot controller says: %s)", s.class.Name, message)
	}
	return nil
}

// describe returns the ID of the snapshot behind a content.
func (s shot) describe(content *snapshotv1.VolumeSnapshotContent) SnapshotID {
	size := s.volume.Spec.Capacity[corev1.ResourceStorage]
	var restoreSize int64
	if content.Status.RestoreSize != nil {
		restoreSize = *content.Status.RestoreSize
	}
	mode := corev1.PersistentVolumeFilesystem
	if s.volume.Spec.VolumeMode != nil {
		mode = *s.volume.Spec.VolumeMode
	}
	return SnapshotID{
		Driver:       s.id.Driver,
		Handle:       handleOf(content),
		Size:         max(size.Value(), restoreSize),
		Mode:         mode,
		AccessModes:  s.volume.Spec.AccessModes,
		Class:        s.class.Name,
		DeleteSecret: deleteSecretOf(content),
		ListSecret:   listSecretOf(s.class, content.Name),
		ManagedBy:    content.Labels[labelManagedByNode],
		Topology:     topologyOf(s.volume.Spec.NodeAffinity),
	}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
