package snapshotter

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// CreateVolumeFromSnapshot makes a new volume from a snapshot and returns its
// ID. volumeType is the storage class of the old volume.
//
// The volume comes into being as that of a claim in the staging namespace. The
// claim and the snapshot's objects are gone when the call returns. The volume's
// PersistentVolume stays, with the reclaim policy Retain: it goes when Velero's
// own has the volume (see [Snapshotter.SetVolumeID]), or with the volume when a
// sweep finds that Velero was never given it. When the call fails, the volume
// that may have been begun is removed too.
func (s *Snapshotter) CreateVolumeFromSnapshot(ctx context.Context, snapshotID, volumeType, volumeAZ string, _ *int64) (string, error) {
	id, err := ids.ParseSnapshotID(snapshotID)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.RestoreTimeout)
	defer cancel()
	volume, err := s.restore(ctx, id, volumeType, volumeAZ)
	if err != nil {
		return "", fmt.Errorf("make a volume from snapshot %s of driver %s: %w", id.Handle, id.Driver, err)
	}
	s.sweepOnce(ctx)
	return volume.String(), nil
}

// stage is one restore under way: the objects made so far.
type stage struct {
	*Snapshotter
	request
	id    ids.SnapshotID
	class *storagev1.StorageClass
	nodes []string // where the volume may be, the best first; empty leaves it to the driver
	owner string   // the node whose sidecar is in charge of the snapshot
	look  *string  // the snapshot class that gives the driver its secret for looking up
	log   logrus.FieldLogger

	content  *snapshotv1.VolumeSnapshotContent
	snapshot *snapshotv1.VolumeSnapshot
	claim    *corev1.PersistentVolumeClaim
	volume   *corev1.PersistentVolume // set once it is kept
}

func (s *Snapshotter) restore(ctx context.Context, id ids.SnapshotID, oldClass, zone string) (ids.NewVolumeID, error) {
	stage, err := s.prepare(ctx, id, oldClass, zone)
	if err != nil {
		return ids.NewVolumeID{}, err
	}
	err = stage.build(ctx)
	stage.strike(ctx)
	if err != nil {
		return ids.NewVolumeID{}, err
	}
	return describeVolume(stage.volume), nil
}

func (s *stage) build(ctx context.Context) error {
	if err := s.importSnapshot(ctx); err != nil {
		return err
	}
	return s.provision(ctx)
}

// prepare looks up all that a restore depends on, so that what is missing is
// told before anything is made.
func (s *Snapshotter) prepare(ctx context.Context, id ids.SnapshotID, oldClass, zone string) (*stage, error) {
	if err := s.requireDriver(ctx, id.Driver); err != nil {
		return nil, err
	}
	class, err := s.storageClassFor(ctx, oldClass, id.Driver)
	if err != nil {
		return nil, err
	}
	look, err := s.lookupClassFor(ctx, id)
	if err != nil {
		return nil, err
	}
	r := restoreRequest(id, uuid.NewString())
	stage := &stage{
		Snapshotter: s, request: r, id: id, class: class, look: look,
		log: s.logFor(r).WithFields(logrus.Fields{"snapshotID": id.String(), "storageClass": class.Name}),
	}
	return stage, stage.place(ctx, zone)
}

// place chooses the nodes that may stand for the volume's place. A class that
// waits for its first consumer needs one; for any other it keeps volumes that
// were in one zone in one zone.
func (s *stage) place(ctx context.Context, zone string) error {
	mustChoose := waitsForConsumer(s.class)
	if !mustChoose && len(s.id.Topology) == 0 && s.id.ManagedBy == "" {
		return nil
	}
	within, beyond, err := s.nodesFor(ctx, placement{driver: s.id.Driver, topology: s.id.Topology, zone: zone, allowed: s.class.AllowedTopologies})
	if err != nil {
		return err
	}
	s.nodes = within
	if mustChoose && len(within) == 0 {
		s.log.WithField("topology", s.id.Topology.String()).Warn("no node is where the snapshot's volume was; let the driver try elsewhere")
		s.nodes = beyond
	}
	if mustChoose && len(s.nodes) == 0 {
		return fmt.Errorf("StorageClass %s waits for its first consumer, but no node that it allows has driver %s", s.class.Name, s.id.Driver)
	}
	s.owner = ownerOf(s.id, append(slices.Clone(within), beyond...))
	return nil
}

// ownerOf returns the node whose sidecar should serve the snapshot: the one that
// did, or the best of those there are.
func ownerOf(id ids.SnapshotID, nodes []string) string {
	if id.ManagedBy == "" || slices.Contains(nodes, id.ManagedBy) || len(nodes) == 0 {
		return id.ManagedBy
	}
	return nodes[0]
}

func (s *Snapshotter) lookupClassFor(ctx context.Context, id ids.SnapshotID) (*string, error) {
	if id.ListSecret == (ids.SecretRef{}) {
		return nil, nil
	}
	list, err := s.listClasses(ctx)
	if err != nil {
		return nil, err
	}
	return classes.LookupClass(id, list), nil
}

// claimSize is what the claim has to ask for: the provisioner refuses less than
// the snapshot says it needs.
func (s *stage) claimSize() resource.Quantity {
	size := s.id.Size
	if status := s.content.Status; status != nil && status.RestoreSize != nil {
		size = max(size, *status.RestoreSize)
	}
	return *resource.NewQuantity(size, resource.BinarySI)
}

// describeVolume returns the ID of the volume behind a staging PersistentVolume.
func describeVolume(pv *corev1.PersistentVolume) ids.NewVolumeID {
	size := pv.Spec.Capacity[corev1.ResourceStorage]
	return ids.NewVolumeID{
		Driver:     pv.Spec.CSI.Driver,
		Handle:     pv.Spec.CSI.VolumeHandle,
		Staging:    pv.Name,
		Size:       size.Value(),
		FSType:     pv.Spec.CSI.FSType,
		Attributes: pv.Spec.CSI.VolumeAttributes,
		Topology:   ids.TopologyOf(pv.Spec.NodeAffinity),
	}
}
