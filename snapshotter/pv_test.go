package snapshotter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

const oldPV = `{
	"apiVersion": "v1", "kind": "PersistentVolume", "fieldOfTomorrow": {"a": 1},
	"metadata": {"name": "pvc-1", "labels": {"topology.kubernetes.io/zone": "zone-b", "app": "db"}, "annotations": {"x": "y"}},
	"spec": {
		"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi", "other": "2"}, "persistentVolumeReclaimPolicy": "Delete",
		"storageClassName": "fast", "volumeMode": "Filesystem", "mountOptions": ["noatime"], "newField": [1, 2],
		"claimRef": {"namespace": "app", "name": "data"},
		"csi": {
			"driver": "d", "volumeHandle": "old", "fsType": "xfs", "readOnly": true, "fieldToo": "kept",
			"volumeAttributes": {"old": "1"}, "nodeStageSecretRef": {"namespace": "app", "name": "data"}
		},
		"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-b"]}]}]}}
	},
	"status": {"phase": "Bound"}
}`

func TestSetVolumeIDKeepsWhatIsNotTheVolume(t *testing.T) {
	id := ids.NewVolumeID{Driver: "d", Handle: "new", Size: 2 << 30, FSType: "ext4", Attributes: map[string]string{"new": "2"}, Topology: zoneA}
	got, err := new(Snapshotter).SetVolumeID(t.Context(), []byte(oldPV), id.String())
	require.NoError(t, err)
	want := strings.NewReplacer(
		`"volumeHandle": "old"`, `"volumeHandle": "new"`,
		`"storage": "1Gi"`, `"storage": "2Gi"`,
		`{"old": "1"}`, `{"new": "2"}`,
		`["zone-b"]`, `["zone-a"]`,
		`"topology.kubernetes.io/zone": "zone-b"`, `"topology.kubernetes.io/zone": "zone-a"`,
	).Replace(oldPV)
	require.JSONEq(t, want, string(got))
}

func TestSetVolumeIDRemovesWhatTheNewVolumeHasNot(t *testing.T) {
	got, err := new(Snapshotter).SetVolumeID(t.Context(), []byte(oldPV), ids.NewVolumeID{Driver: "d", Handle: "new", Size: 1 << 30}.String())
	require.NoError(t, err)
	var pv struct {
		Metadata struct{ Labels map[string]string }
		Spec     struct {
			CSI          map[string]any
			NodeAffinity any
		}
	}
	require.NoError(t, json.Unmarshal(got, &pv))
	require.NotContains(t, pv.Spec.CSI, "volumeAttributes")
	require.Equal(t, "xfs", pv.Spec.CSI["fsType"])
	require.Nil(t, pv.Spec.NodeAffinity)
	require.Equal(t, "zone-b", pv.Metadata.Labels["topology.kubernetes.io/zone"])
}

func TestSetVolumeIDRefuses(t *testing.T) {
	good := ids.NewVolumeID{Driver: "d", Handle: "new", Size: 1}.String()
	for _, c := range []struct{ pv, id, reason string }{
		{oldPV, "vol-1", "no new volume ID"},
		{oldPV, ids.NewVolumeID{Driver: "e", Handle: "new", Size: 1}.String(), "its driver is d"},
		{`{"metadata": {"name": "pvc-1"}, "spec": {"nfs": {}}}`, good, "no csi section"},
		{`{`, good, "PersistentVolume that Velero sent"},
	} {
		_, err := new(Snapshotter).SetVolumeID(t.Context(), []byte(c.pv), c.id)
		require.ErrorContains(t, err, c.reason)
	}
}

func TestGetVolumeIDSaysWhyNot(t *testing.T) {
	for name, c := range map[string]struct{ pv, reason string }{
		"not CSI":       {`{"spec": {"nfs": {"server": "s", "path": "/"}}}`, "not a CSI volume"},
		"migrated":      {`{"metadata": {"annotations": {"pv.kubernetes.io/migrated-to": "ebs.csi.aws.com"}}, "spec": {"awsElasticBlockStore": {"volumeID": "v"}}}`, "ebs.csi.aws.com"},
		"not ours":      {`{"spec": {"csi": {"driver": "other", "volumeHandle": "h"}, "claimRef": {"name": "c"}}}`, "not among the drivers"},
		"without claim": {`{"spec": {"csi": {"driver": "d", "volumeHandle": "h"}}}`, "no claim"},
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := test.NewNullLogger()
			s := &Snapshotter{settings: Settings{Drivers: []string{"d"}}, log: log}
			id, err := s.GetVolumeID(t.Context(), []byte(c.pv))
			require.NoError(t, err)
			require.Empty(t, id)
			require.Len(t, logged.Entries, 1)
			require.Contains(t, logged.LastEntry().Data["reason"], c.reason)
		})
	}
	s := &Snapshotter{log: logrus.New()}
	id, err := s.GetVolumeID(t.Context(), []byte(oldPV))
	require.NoError(t, err)
	require.Equal(t, "csi-volume://d/old?v=2&pv=pvc-1&class=fast", id)
	class, iops, err := s.GetVolumeInfo(t.Context(), id, "")
	require.NoError(t, err)
	require.Equal(t, "fast", class)
	require.Nil(t, iops)
	_, err = s.GetVolumeID(t.Context(), []byte("{"))
	require.ErrorContains(t, err, "PersistentVolume that Velero sent")
}
