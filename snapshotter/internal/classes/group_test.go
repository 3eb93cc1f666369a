package classes

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

func groupClass(name, driver string, change func(c *GroupClass)) *GroupClass {
	c := &GroupClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
	if change != nil {
		change(c)
	}
	return c
}

func TestForGroup(t *testing.T) {
	labelled := func(c *GroupClass) { c.Labels = map[string]string{veleroGroupClass: "true"} }
	byDefault := func(c *GroupClass) { c.Annotations = map[string]string{defaultGroupClass: "true"} }
	annotated := map[string]string{veleroGroupClass + "_a.csi": "two"}
	for name, c := range map[string]struct {
		backup  map[string]string
		classes []*GroupClass
		want    string
		err     string
	}{
		"none":              {},
		"another driver's":  {classes: []*GroupClass{groupClass("one", "b.csi", labelled)}},
		"the only one":      {classes: []*GroupClass{groupClass("one", "A.csi", nil)}, want: "one"},
		"the labelled one":  {classes: []*GroupClass{groupClass("one", "A.csi", byDefault), groupClass("two", "A.csi", labelled)}, want: "two"},
		"the default one":   {classes: []*GroupClass{groupClass("one", "A.csi", nil), groupClass("two", "A.csi", byDefault)}, want: "two"},
		"the Backup's":      {annotated, []*GroupClass{groupClass("one", "A.csi", labelled), groupClass("two", "A.csi", nil)}, "two", ""},
		"the Backup's gone": {annotated, []*GroupClass{groupClass("one", "A.csi", nil)}, "", `no VolumeGroupSnapshotClass "two"`},
		"several":           {classes: []*GroupClass{groupClass("one", "A.csi", nil), groupClass("two", "A.csi", nil)}, err: "label one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			class, err := ForGroup("A.csi", c.backup, c.classes)
			switch {
			case c.err != "":
				require.ErrorContains(t, err, c.err)
			case c.want == "":
				require.NoError(t, err)
				require.Nil(t, class)
			default:
				require.NoError(t, err)
				require.Equal(t, c.want, class.Name)
			}
		})
	}
}

func TestGroupSecrets(t *testing.T) {
	secret := ids.SecretRef{Namespace: "rook-ceph", Name: "rbd"}
	class := groupClass("one", "a.csi", func(c *GroupClass) {
		c.Parameters = map[string]string{
			parameterGroupSecretNamespace: secret.Namespace, parameterGroupSecretName: secret.Name,
			parameterGroupGetSecretNamespace: secret.Namespace, parameterGroupGetSecretName: secret.Name,
		}
	})
	plain := groupClass("two", "a.csi", nil)
	found, err := GroupSecret(class)
	require.NoError(t, err)
	require.Equal(t, secret, found)
	id := ids.SnapshotID{Driver: "a.csi", Group: ids.Group{Handle: "g", Class: "one", DeleteSecret: secret}}
	require.Equal(t, "one", GroupLookupClass(id, []*GroupClass{plain, class}))
	require.Empty(t, GroupLookupClass(id, []*GroupClass{plain}))

	for name, c := range map[string]struct {
		classes []*GroupClass
		allowed []string
		refused bool
	}{
		"named by a class":           {classes: []*GroupClass{plain, class}},
		"allowed by the location":    {allowed: []string{"rook-ceph/rbd"}},
		"named by another driver's":  {classes: []*GroupClass{groupClass("one", "b.csi", func(c *GroupClass) { c.Parameters = class.Parameters })}, refused: true},
		"named by nobody any longer": {classes: []*GroupClass{plain}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := GroupDeleteSecret(id, c.classes, c.allowed)
			if c.refused {
				require.ErrorContains(t, err, "snapshotSecrets")
				return
			}
			require.NoError(t, err)
			require.Equal(t, secret, found)
		})
	}
	id.Group.DeleteSecret = ids.SecretRef{}
	found, err = GroupDeleteSecret(id, nil, nil)
	require.NoError(t, err)
	require.Equal(t, ids.SecretRef{}, found)

	for _, parameters := range []map[string]string{
		{parameterGroupSecretNamespace: "rook-ceph", parameterGroupSecretName: "${volumegroupsnapshot.name}"},
		{parameterGroupSecretName: "rbd"},
	} {
		_, err := GroupSecret(groupClass("one", "a.csi", func(c *GroupClass) { c.Parameters = parameters }))
		require.ErrorContains(t, err, "have to name one secret, without templates")
	}
}
