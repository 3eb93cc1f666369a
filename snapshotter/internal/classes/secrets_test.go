package classes

import (
	"maps"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// withSecret is a class that names its secrets so.
func withSecret(name, driver, namespace, secret string) *snapshotv1.VolumeSnapshotClass {
	class := snapshotClass(name, driver)
	class.Parameters = map[string]string{parameterSecretNamespace: namespace, parameterSecretName: secret}
	return class
}

func TestCreateSecret(t *testing.T) {
	names := SnapshotNames{Content: "content", Snapshot: "snap", Namespace: "app"}
	class := snapshotClass("c", "d")
	secret, err := CreateSecret(class, names)
	require.NoError(t, err)
	require.Zero(t, secret)

	class = withSecret("c", "d", "${volumesnapshot.namespace}", "s-${volumesnapshot.name}-${volumesnapshotcontent.name}")
	secret, err = CreateSecret(class, names)
	require.NoError(t, err)
	require.Equal(t, ids.SecretRef{Namespace: "app", Name: "s-snap-content"}, secret)

	for _, wrong := range []struct{ namespace, name, reason string }{
		{"ns", "${pvc.name}", "${pvc.name}, which is not known"},
		{"${volumesnapshot.name}", "s", "${volumesnapshot.name}, which is not known"},
		{"ns", "", "only together"},
		{"ns", "A_b", "no name of a Secret"},
		{"a.b", "s", "no name of a namespace"},
	} {
		class = withSecret("c", "d", wrong.namespace, wrong.name)
		_, err = CreateSecret(class, names)
		require.ErrorContains(t, err, "VolumeSnapshotClass c: ")
		require.ErrorContains(t, err, wrong.reason)
	}
	class = withSecret("c", "d", "${volumesnapshot.namespace}", "s")
	_, err = CreateSecret(class, SnapshotNames{Content: "content"})
	require.ErrorContains(t, err, "not known", "a volume without a claim")
}

func TestListSecret(t *testing.T) {
	class := snapshotClass("c", "d")
	class.Parameters = map[string]string{parameterListSecretNamespace: "kube-system", parameterListSecretName: "lister-${volumesnapshotcontent.name}"}
	secret, err := ListSecret(class, "content")
	require.NoError(t, err)
	require.Equal(t, ids.SecretRef{Namespace: "kube-system", Name: "lister-content"}, secret)
}

func TestDeleteSecret(t *testing.T) {
	secret := func(namespace, name string) ids.SecretRef { return ids.SecretRef{Namespace: namespace, Name: name} }
	fixed, foreign := withSecret("fixed", "d", "ceph", "taker"), withSecret("foreign", "e", "kube-system", "root")
	templated := withSecret("templated", "d", "${volumesnapshot.namespace}", "taker")
	free := withSecret("free", "d", "${volumesnapshot.namespace}", "${volumesnapshot.name}")
	bare := snapshotClass("bare", "d")
	all := []*snapshotv1.VolumeSnapshotClass{bare, fixed, foreign, templated, free}
	claim := ids.ClaimRef{Namespace: "app", Name: "data"}
	for name, c := range map[string]struct {
		id      ids.SnapshotID
		allowed []string
		want    ids.SecretRef
		refused bool
	}{
		"none":                   {},
		"named by its class":     {id: ids.SnapshotID{Class: "fixed", DeleteSecret: secret("ceph", "taker")}, want: secret("ceph", "taker")},
		"named by another class": {id: ids.SnapshotID{Class: "gone", DeleteSecret: secret("ceph", "taker")}, want: secret("ceph", "taker")},
		"named by a template":    {id: ids.SnapshotID{Class: "templated", Claim: claim, DeleteSecret: secret("app", "taker")}, want: secret("app", "taker")},
		"renamed in its class":   {id: ids.SnapshotID{Class: "fixed", DeleteSecret: secret("ceph", "former")}, want: secret("ceph", "taker")},
		"allowed":                {id: ids.SnapshotID{Class: "gone", DeleteSecret: secret("ceph", "former")}, allowed: []string{"ceph/other", "ceph/former"}, want: secret("ceph", "former")},
		"of another driver":      {id: ids.SnapshotID{Class: "foreign", DeleteSecret: secret("kube-system", "root")}, refused: true},
		"of nobody":              {id: ids.SnapshotID{Class: "gone", DeleteSecret: secret("kube-system", "root")}, refused: true},
		"another claim's":        {id: ids.SnapshotID{Claim: claim, DeleteSecret: secret("other", "taker")}, refused: true},
		"by a name of its own":   {id: ids.SnapshotID{Class: "free", Claim: claim, DeleteSecret: secret("app", "root")}, refused: true},
		"of the first version":   {id: ids.SnapshotID{Class: "templated", DeleteSecret: secret("app", "taker")}, refused: true},
		"its class names none":   {id: ids.SnapshotID{Class: "bare", DeleteSecret: secret("app", "taker")}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.id.Driver = "d"
			got, err := DeleteSecret(c.id, all, c.allowed)
			if c.refused {
				require.ErrorContains(t, err, c.id.DeleteSecret.String())
				require.ErrorContains(t, err, "snapshotSecrets")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Annotations: DeleteAnnotations(got)}}
			require.Equal(t, got, DeleteSecretOf(content))
		})
	}
}

func TestLookupClass(t *testing.T) {
	with := func(name, driver, secret string) *snapshotv1.VolumeSnapshotClass {
		class := snapshotClass(name, driver)
		class.Parameters = map[string]string{parameterListSecretName: secret, parameterListSecretNamespace: "ns"}
		return class
	}
	id := ids.SnapshotID{Driver: "d", Class: "mine", ListSecret: ids.SecretRef{Namespace: "ns", Name: "s"}}
	bare, same, other, mine := snapshotClass("bare", "d"), with("same", "d", "s"), with("any", "d", "t"), with("mine", "d", "t")
	foreign := with("mine", "e", "s")
	for want, classes := range map[string][]*snapshotv1.VolumeSnapshotClass{
		"mine": {other, same, mine, bare},
		"same": {other, same, foreign, bare},
		"any":  {bare, other, foreign},
	} {
		got := LookupClass(id, classes)
		require.NotNil(t, got, want)
		require.Equal(t, want, *got)
	}
	require.Nil(t, LookupClass(id, []*snapshotv1.VolumeSnapshotClass{bare, foreign}))
	require.Nil(t, LookupClass(ids.SnapshotID{Driver: "d"}, []*snapshotv1.VolumeSnapshotClass{mine}))
}

func TestVolumeParameters(t *testing.T) {
	const stage, provisioner, prefix = "csi.storage.k8s.io/node-stage-secret-", "csi.storage.k8s.io/provisioner-secret-", "csi.storage.k8s.io/"
	id := ids.SnapshotID{Claim: ids.ClaimRef{Namespace: "app", Name: "data"}, PV: "pvc-1", Secrets: ids.Secrets{
		"provisioner": ids.SecretRef{Namespace: "ceph", Name: "maker"},
		"node-stage":  ids.SecretRef{Namespace: "app", Name: "team-blue-luks"},
	}}
	for name, c := range map[string]struct {
		id         *ids.SnapshotID
		parameters map[string]string
		want       map[string]string // what differs
		wrong      []string
	}{
		"none":        {},
		"no template": {parameters: map[string]string{"pool": "${pvc.name}", stage + "name": "s", stage + "namespace": "ns"}},
		"by the claim": {
			parameters: map[string]string{stage + "name": "${pvc.name}-${pvc.namespace}-luks", stage + "namespace": "${pvc.namespace}"},
			want:       map[string]string{stage + "name": "data-app-luks", stage + "namespace": "app"},
		},
		"by the volume": {
			parameters: map[string]string{provisioner + "name": "s", provisioner + "namespace": "${pv.name}"},
			want:       map[string]string{provisioner + "namespace": "pvc-1"},
		},
		"by an annotation": {
			parameters: map[string]string{stage + "name": "team-${pvc.annotations['team']}-luks", stage + "namespace": "${pvc.namespace}"},
			want:       map[string]string{stage + "name": "team-blue-luks", stage + "namespace": "app"},
		},
		"by an annotation, for all uses": {
			parameters: map[string]string{prefix + "secret-name": "team-${pvc.annotations['team']}-luks", prefix + "secret-namespace": "${pvc.namespace}"},
			want:       map[string]string{prefix + "secret-name": "team-blue-luks", prefix + "secret-namespace": "app"},
		},
		"without the prefix": {
			parameters: map[string]string{"csiProvisionerSecretName": "${pvc.name}", "csiProvisionerSecretNamespace": "ceph"},
			want:       map[string]string{"csiProvisionerSecretName": "data"},
		},
		"an annotation that fits nothing": {
			parameters: map[string]string{provisioner + "name": "team-${pvc.annotations['team']}-luks", provisioner + "namespace": "ceph"},
			wrong:      []string{"StorageClass c: ", provisioner + "name", "${pvc.annotations['team']}", "storageClass.OLD"},
		},
		"the fitting secret of another use": {
			parameters: map[string]string{prefix + "node-publish-secret-name": "${pvc.annotations['team']}", prefix + "node-publish-secret-namespace": "${pvc.namespace}"},
			wrong:      []string{"not known"},
		},
		"a namespace that does not fit": {
			parameters: map[string]string{stage + "name": "${pvc.annotations['team']}", stage + "namespace": "kube-system"},
			wrong:      []string{"not known"},
		},
		"an annotation in the namespace": {
			parameters: map[string]string{stage + "name": "s", stage + "namespace": "${pvc.annotations['team']}"},
			wrong:      []string{"not known"},
		},
		"an ID of the first version": {
			id: &ids.SnapshotID{}, parameters: map[string]string{stage + "name": "${pvc.name}", stage + "namespace": "ns"},
			wrong: []string{"${pvc.name}, which is not known here"},
		},
		"an ID with an odd claim": {
			id: &ids.SnapshotID{Claim: ids.ClaimRef{Namespace: "a", Name: "*"}}, parameters: map[string]string{stage + "name": "${pvc.name}", stage + "namespace": "ns"},
			wrong: []string{"no name of a Secret"},
		},
		"an ID with an odd secret": {
			id:         &ids.SnapshotID{Claim: ids.ClaimRef{Namespace: "a", Name: "b"}, Secrets: ids.Secrets{"node-stage": ids.SecretRef{Namespace: "ns", Name: "A b"}}},
			parameters: map[string]string{stage + "name": "${pvc.annotations['x']}", stage + "namespace": "ns"},
			wrong:      []string{"not known"},
		},
		"half a pair": {parameters: map[string]string{stage + "name": "s"}, wrong: []string{"only together"}},
	} {
		t.Run(name, func(t *testing.T) {
			class := storageClass("c", "d")
			class.Parameters = maps.Clone(c.parameters)
			if c.id == nil {
				c.id = &id
			}
			got, err := VolumeParameters(class, *c.id)
			require.Equal(t, c.parameters, class.Parameters, "the class itself is left as it is")
			if len(c.wrong) > 0 {
				for _, words := range c.wrong {
					require.ErrorContains(t, err, words)
				}
				return
			}
			require.NoError(t, err)
			want := maps.Clone(c.parameters)
			maps.Copy(want, c.want)
			require.Equal(t, want, got)
		})
	}
}
