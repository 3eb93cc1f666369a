package snapshotter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

const oldPV = `{
	"apiVersion": "v1", "kind": "PersistentVolume", "fieldOfTomorrow": {"a": 1},
	"metadata": {"name": "pvc-1", "labels": {"topology.kubernetes.io/zone": "zone-b", "app": "db"},
		"annotations": {"x": "y", "pv.kubernetes.io/provisioned-by": "d", "volume.kubernetes.io/provisioner-deletion-secret-name": "old",
			"volume.kubernetes.io/controller-modify-secret-name": "old", "volume.kubernetes.io/controller-modify-secret-namespace": "app"}},
	"spec": {
		"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi", "other": "2"}, "persistentVolumeReclaimPolicy": "Delete",
		"storageClassName": "fast", "volumeMode": "Filesystem", "mountOptions": ["noatime"], "newField": [1, 2],
		"claimRef": {"namespace": "app", "name": "data"},
		"csi": {
			"driver": "d", "volumeHandle": "old", "fsType": "xfs", "readOnly": true, "fieldToo": "kept",
			"volumeAttributes": {"old": "1"}, "nodeStageSecretRef": {"namespace": "app", "name": "old"}
		},
		"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-b"]}]}]}}
	},
	"status": {"phase": "Bound"}
}`

// madeVolume is a staging PersistentVolume as csi-provisioner writes it.
func madeVolume() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			"volume.kubernetes.io/provisioner-deletion-secret-name": "new", "volume.kubernetes.io/controller-modify-secret-name": "new",
			"volume.kubernetes.io/controller-modify-secret-namespace": "velero", "pv.kubernetes.io/provisioned-by": "d",
		}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "topology.kubernetes.io/zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-a"}}},
			}}}},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "d", VolumeHandle: "new", FSType: "ext4", VolumeAttributes: map[string]string{"new": "2", attributeProvisioner: "1-d"},
				NodeStageSecretRef: &corev1.SecretReference{Namespace: "velero", Name: "new"},
			}},
		},
	}
}

func (s *Snapshotter) replaced(t *testing.T, old string, made *corev1.PersistentVolume) ([]byte, error) {
	t.Helper()
	var pv map[string]any
	require.NoError(t, json.Unmarshal([]byte(old), &pv))
	err := s.replaceVolume(pv, made)
	return marshal(t, pv), err
}

func TestReplaceVolumeKeepsWhatIsNotTheVolume(t *testing.T) {
	got, err := new(Snapshotter).replaced(t, oldPV, madeVolume())
	require.NoError(t, err)
	want := strings.NewReplacer(
		`"volumeHandle": "old"`, `"volumeHandle": "new"`,
		`"storage": "1Gi"`, `"storage": "2Gi"`,
		`{"old": "1"}`, `{"new": "2"}`,
		`["zone-b"]`, `["zone-a"]`,
		`"topology.kubernetes.io/zone": "zone-b", `, ``, `, "topology.kubernetes.io/zone": "zone-b"`, ``,
		`{"namespace": "app", "name": "old"}`, `{"namespace": "velero", "name": "new"}`,
		`"volume.kubernetes.io/provisioner-deletion-secret-name": "old"`, `"volume.kubernetes.io/provisioner-deletion-secret-name": "new"`,
		`"volume.kubernetes.io/controller-modify-secret-name": "old"`, `"volume.kubernetes.io/controller-modify-secret-name": "new"`,
		`"volume.kubernetes.io/controller-modify-secret-namespace": "app"`, `"volume.kubernetes.io/controller-modify-secret-namespace": "velero"`,
	).Replace(oldPV)
	require.JSONEq(t, want, string(got))
}

func TestReplaceVolumeRemovesWhatTheNewVolumeHasNot(t *testing.T) {
	made := madeVolume()
	made.Annotations, made.Spec.NodeAffinity = map[string]string{"pv.kubernetes.io/provisioned-by": "d"}, nil
	made.Spec.CSI.VolumeAttributes, made.Spec.CSI.NodeStageSecretRef = nil, nil
	got, err := new(Snapshotter).replaced(t, oldPV, made)
	require.NoError(t, err)
	var pv struct {
		Metadata struct{ Labels, Annotations map[string]string }
		Spec     struct {
			CSI          map[string]any
			NodeAffinity any
		}
	}
	require.NoError(t, json.Unmarshal(got, &pv))
	require.NotContains(t, pv.Spec.CSI, "volumeAttributes")
	require.NotContains(t, pv.Spec.CSI, "nodeStageSecretRef")
	require.NotContains(t, pv.Metadata.Annotations, "volume.kubernetes.io/provisioner-deletion-secret-name")
	require.NotContains(t, pv.Metadata.Annotations, "volume.kubernetes.io/controller-modify-secret-name")
	require.Equal(t, "xfs", pv.Spec.CSI["fsType"])
	require.Nil(t, pv.Spec.NodeAffinity)
	require.NotContains(t, pv.Metadata.Labels, "topology.kubernetes.io/zone")
}

func TestReplaceVolumeOfARenamedDriver(t *testing.T) {
	made := madeVolume()
	made.Spec.CSI.Driver, made.Annotations["pv.kubernetes.io/provisioned-by"] = "renamed", "renamed"
	s := &Snapshotter{}
	_, err := s.replaced(t, oldPV, made)
	require.EqualError(t, err, "its driver is d")
	_, err = s.replaced(t, `{"metadata": {"name": "pvc-1"}, "spec": {"nfs": {}}}`, made)
	require.EqualError(t, err, "it has no csi section")

	s.settings.RenamedDrivers = map[string]string{"d": "renamed"}
	got, err := s.replaced(t, oldPV, made)
	require.NoError(t, err)
	var pv corev1.PersistentVolume
	require.NoError(t, json.Unmarshal(got, &pv))
	require.Equal(t, "renamed", pv.Spec.CSI.Driver)
	require.Equal(t, "renamed", pv.Annotations["pv.kubernetes.io/provisioned-by"], "it is this driver that deletes it in the end")
}

func TestSetVolumeIDRefuses(t *testing.T) {
	good := ids.NewVolumeID{Driver: "d", Handle: "new", Staging: "s"}.String()
	for _, c := range []struct{ pv, id, reason string }{
		{oldPV, "vol-1", "no new volume ID"},
		{`{`, good, "PersistentVolume that Velero sent"},
	} {
		_, err := new(Snapshotter).SetVolumeID(t.Context(), []byte(c.pv), c.id)
		require.ErrorContains(t, err, c.reason)
	}
}

func TestGetVolumeIDSaysWhyNot(t *testing.T) {
	for name, c := range map[string]struct{ pv, reason string }{
		"not CSI":  {`{"spec": {"nfs": {"server": "s", "path": "/"}}}`, "not a CSI volume"},
		"migrated": {`{"metadata": {"annotations": {"pv.kubernetes.io/migrated-to": "ebs.csi.aws.com"}}, "spec": {"awsElasticBlockStore": {"volumeID": "v"}}}`, "ebs.csi.aws.com"},
		"not ours": {`{"spec": {"csi": {"driver": "other", "volumeHandle": "h"}, "claimRef": {"name": "c"}}}`, "not among the drivers"},
		"staging":  {`{"spec": {"storageClassName": "longshore-restore-0e0ba9bf-4f3e-4a1c-9d5c-0c1f9f6f7a11", "csi": {"driver": "d", "volumeHandle": "h"}}}`, "a restore under way"},
		"watched":  {`{"spec": {"csi": {"driver": "io.openebs.csi-mayastor", "volumeHandle": "h"}}}`, "file-system backup"},
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := test.NewNullLogger()
			s := &Snapshotter{settings: Settings{Drivers: []string{"d", "io.openebs.csi-mayastor"}}, log: log}
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
