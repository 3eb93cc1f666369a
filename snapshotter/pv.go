package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// SetVolumeID returns the PersistentVolume with its volume replaced by the one
// that volumeID names: handle, attributes, node affinity and capacity are the
// new volume's. All other fields stay as they came, known to this release or
// not; among them the references to secrets, which may derive from the claim,
// and the file system, which came along in the snapshot.
//
// Before it returns, the staging PersistentVolume says that Velero was given the
// volume, so that no sweep removes it. That PersistentVolume goes by itself when
// Velero's own is in the cluster.
func (s *Snapshotter) SetVolumeID(ctx context.Context, persistentVolume []byte, volumeID string) ([]byte, error) {
	id, err := ids.ParseNewVolumeID(volumeID)
	if err != nil {
		return nil, err
	}
	var pv map[string]any
	if err := json.Unmarshal(persistentVolume, &pv); err != nil {
		return nil, fmt.Errorf("read the PersistentVolume that Velero sent: %w", err)
	}
	name, _, _ := unstructured.NestedString(pv, "metadata", "name")
	if err := replaceVolume(pv, id); err != nil {
		return nil, fmt.Errorf("put volume %s of driver %s into PersistentVolume %s: %w", id.Handle, id.Driver, name, err)
	}
	changed, err := json.Marshal(pv)
	if err != nil {
		return nil, fmt.Errorf("write PersistentVolume %s: %w", name, err)
	}
	if err := s.handOver(ctx, id, name); err != nil {
		return nil, fmt.Errorf("give Velero volume %s of driver %s for PersistentVolume %s: %w", id.Handle, id.Driver, name, err)
	}
	return changed, nil
}

func replaceVolume(pv map[string]any, id ids.NewVolumeID) error {
	driver, found, err := unstructured.NestedString(pv, "spec", "csi", "driver")
	if err != nil || !found {
		return fmt.Errorf("it has no csi section")
	}
	if driver != id.Driver {
		return fmt.Errorf("its driver is %s", driver)
	}
	fsType, _, _ := unstructured.NestedString(pv, "spec", "csi", "fsType")
	steps := []func() error{
		func() error { return unstructured.SetNestedField(pv, id.Handle, "spec", "csi", "volumeHandle") },
		func() error { return setOrRemove(pv, stringMap(id.Attributes), "spec", "csi", "volumeAttributes") },
		func() error {
			return unstructured.SetNestedField(pv, ids.FormatSize(id.Size), "spec", "capacity", "storage")
		},
		func() error { return setAffinity(pv, id.Topology) },
		func() error { return setZoneLabels(pv, id.Topology) },
	}
	if fsType == "" && id.FSType != "" {
		steps = append(steps, func() error { return unstructured.SetNestedField(pv, id.FSType, "spec", "csi", "fsType") })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func setOrRemove(pv, value map[string]any, path ...string) error {
	if len(value) == 0 {
		unstructured.RemoveNestedField(pv, path...)
		return nil
	}
	return unstructured.SetNestedMap(pv, value, path...)
}

func stringMap(from map[string]string) map[string]any {
	to := make(map[string]any, len(from))
	for key, value := range from {
		to[key] = value
	}
	return to
}

func setAffinity(pv map[string]any, topology ids.Topology) error {
	affinity := topology.NodeAffinity()
	if affinity == nil {
		unstructured.RemoveNestedField(pv, "spec", "nodeAffinity")
		return nil
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(affinity)
	if err != nil {
		return err
	}
	return unstructured.SetNestedMap(pv, fields, "spec", "nodeAffinity")
}

// setZoneLabels corrects the zone labels of a PersistentVolume that has them, so
// that they do not contradict the new volume's topology. Several zones are
// joined as Kubernetes does.
func setZoneLabels(pv map[string]any, topology ids.Topology) error {
	labels, _, err := unstructured.NestedStringMap(pv, "metadata", "labels")
	if err != nil {
		return err
	}
	changed := false
	for _, label := range ids.ZoneLabels {
		values := topology.Values(label)
		if _, has := labels[label]; has && len(values) > 0 {
			labels[label] = strings.Join(values, "__")
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return unstructured.SetNestedStringMap(pv, labels, "metadata", "labels")
}
