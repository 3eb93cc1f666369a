package main

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkNoDependents refuses, where the control file wants it, the deletion of what
// a volume or snapshot was made from, as copy-on-write storages do.
func (d *driver) checkNoDependents(of source) error {
	settings, err := d.control.read()
	if err != nil || !settings.KeepSources {
		return err
	}
	vol, err := d.store.volumes.find(func(v *volume) bool { return v.Source == of })
	if err != nil {
		return err
	}
	if vol != nil {
		return status.Errorf(codes.FailedPrecondition, "has dependent clones: volume %s", vol.ID)
	}
	if of.VolumeID == "" {
		return nil
	}
	snap, err := d.store.snapshots.find(func(s *snapshot) bool { return s.SourceVolumeID == of.VolumeID })
	if err != nil {
		return err
	}
	if snap != nil {
		return status.Errorf(codes.FailedPrecondition, "has dependent snapshots: snapshot %s", snap.ID)
	}
	return nil
}
