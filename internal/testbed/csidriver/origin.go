package main

import (
	"context"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// origin is the content a new volume begins with; its zero value is none.
type origin struct {
	path       string
	sizeBytes  int64
	volumeMode string
	boundZone  string
}

func parseSource(content *csi.VolumeContentSource) (source, error) {
	parsed := source{
		SnapshotID: content.GetSnapshot().GetSnapshotId(),
		VolumeID:   content.GetVolume().GetVolumeId(),
	}
	if content != nil && parsed == (source{}) {
		return source{}, missing("volume_content_source's snapshot_id or volume_id")
	}
	return parsed, nil
}

func (d *driver) origin(from source) (origin, error) {
	switch {
	case from.SnapshotID != "":
		return d.snapshotOrigin(from.SnapshotID)
	case from.VolumeID != "":
		return d.volumeOrigin(from.VolumeID)
	default:
		return origin{}, nil
	}
}

func (d *driver) snapshotOrigin(id string) (origin, error) {
	snap, err := d.store.snapshots.get(id)
	if err != nil {
		return origin{}, err
	}
	if !snap.ready(time.Now()) {
		return origin{}, status.Errorf(codes.FailedPrecondition, "snapshot %s is not ready to use before %s", id, snap.ReadyAt.Format(time.RFC3339Nano))
	}
	from := origin{
		path:       d.store.snapshots.dataPath(id, snap.VolumeMode),
		sizeBytes:  snap.SizeBytes,
		volumeMode: snap.VolumeMode,
	}
	if d.cfg.zonalSnapshots {
		from.boundZone = snap.Topology[d.cfg.topology.zoneKey]
	}
	return from, nil
}

func (d *driver) volumeOrigin(id string) (origin, error) {
	vol, err := d.store.volumes.get(id)
	if err != nil {
		return origin{}, err
	}
	return origin{
		path:       d.store.volumes.dataPath(id, vol.VolumeMode),
		sizeBytes:  vol.CapacityBytes,
		volumeMode: vol.VolumeMode,
		boundZone:  vol.Topology[d.cfg.topology.zoneKey],
	}, nil
}

func fillVolume(ctx context.Context, data string, vol *volume, from string) error {
	if from != "" {
		if err := copyContent(ctx, from, data); err != nil {
			return err
		}
	} else if err := makeEmpty(data, vol.VolumeMode); err != nil {
		return err
	}
	if vol.VolumeMode == modeBlock {
		return os.Truncate(data, vol.CapacityBytes)
	}
	return nil
}

// makeEmpty lets every user write, as a pod may run as any.
func makeEmpty(data, volumeMode string) error {
	if volumeMode == modeBlock {
		return os.WriteFile(data, nil, 0o644)
	}
	if err := os.Mkdir(data, 0o777); err != nil {
		return err
	}
	return os.Chmod(data, 0o777)
}

func (s source) toCSI() *csi.VolumeContentSource {
	switch {
	case s.SnapshotID != "":
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.SnapshotID},
		}}
	case s.VolumeID != "":
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: s.VolumeID},
		}}
	default:
		return nil
	}
}
