package snapshotter

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterLeastRights makes every call with the rights of docs/rbac.yaml only,
// and within what docs/admission.yaml leaves of them.
func TestClusterLeastRights(t *testing.T) {
	for _, staging := range []string{"velero", "staging"} {
		t.Run("staging objects in "+staging, func(t *testing.T) {
			b := onCluster(t, map[string]string{"stagingNamespace": staging, "signingKeySecret": "longshore-signing/old", "errorGracePeriod": "3s", "deleteTimeout": "1m"})
			require.NoError(t, b.CreateNamespace(t.Context(), staging))
			require.NoError(t, b.Apply(t.Context(), signingSecrets))
			b.grant(staging)
			b.confine(staging)
			limited := *b.Snapshotter
			limited.kube = clientFor(t, b.asVelero())
			b.Snapshotter = &limited

			b.defineVelero()
			groups := b.servesGroups()
			if groups {
				b.takesGroups()
			}
			pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassWaitForFirstConsumer, Labels: map[string]string{veleroGroup: "g"}}, "first")
			b.claimed(testbed.ClaimOptions{Name: "more", Labels: map[string]string{veleroGroup: "g"}}, "first")
			alone := b.claimed(testbed.ClaimOptions{Name: "alone"}, "first")
			b.rule(testbed.DriverRule{Method: "CreateSnapshot", Code: "Unavailable", Message: "busy", Times: 1})
			single := b.snapshotOf(alone, b.backsUp(veleroGroup))
			b.rule(testbed.DriverRule{Method: "DeleteSnapshot", Code: "FailedPrecondition", Message: "it has clones"})
			require.ErrorContains(t, b.DeleteSnapshot(t.Context(), single), "Failed to delete snapshot", "only an event says it")
			b.normalDriver()
			require.NoError(t, b.DeleteSnapshot(t.Context(), single))
			snapshot := b.snapshotOf(pv, b.backsUp(veleroGroup))
			require.Equal(t, groups, b.groupOfID(snapshot).Handle != "")
			_, content := b.restoreAs(&limited, snapshot, pv, "restored")
			require.Equal(t, "first", content)
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
			_, err := limited.Sweep(t.Context())
			require.NoError(t, err)
		})
	}
}

// grant applies docs/rbac.yaml for the length of the test.
func (b *bench) grant(staging string) {
	b.Helper()
	require.NoError(b, b.Apply(b.Context(), manifest(b.T, "rbac.yaml", staging)))
	b.Cleanup(func() {
		rbac := b.Kube.RbacV1()
		for _, role := range []struct{ namespace, name string }{{"velero", "longshore-snapshotter"}, {staging, "longshore-staging"}, {"default", "longshore-events"}} {
			require.NoError(b, rbac.Roles(role.namespace).Delete(b.background(), role.name, metav1.DeleteOptions{}))
			require.NoError(b, rbac.RoleBindings(role.namespace).Delete(b.background(), role.name, metav1.DeleteOptions{}))
		}
		require.NoError(b, rbac.ClusterRoles().Delete(b.background(), "longshore-snapshotter", metav1.DeleteOptions{}))
		require.NoError(b, rbac.ClusterRoleBindings().Delete(b.background(), "longshore-snapshotter", metav1.DeleteOptions{}))
	})
}

// TestClusterAnother restores in a second cluster that reaches the same storage,
// by the ID alone, also a member of a group.
func TestClusterAnother(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	b.defineVelero()
	groups := b.servesGroups()
	if groups {
		b.takesGroups()
	}
	members := b.grouped(veleroGroup, "one", "two")
	member := b.snapshotOf(members[1], b.backsUp(veleroGroup))
	require.Equal(t, groups, b.groupOfID(member).Handle != "")

	other, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "other", Storage: b.Storage, Zones: []string{"zone-a", "zone-b", "zone-c"}})
	require.NoError(t, err)
	o := &bench{T: t, Cluster: other, namespace: b.namespace}
	require.NoError(t, other.CreateNamespace(t.Context(), "velero"))
	require.NoError(t, other.CreateNamespace(t.Context(), o.namespace))
	o.Snapshotter = o.open(nil)
	_, content := o.restoreAs(o.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, o.DeleteSnapshot(t.Context(), snapshot))
	_, content = o.restoreAs(o.Snapshotter, member, members[1], "member")
	require.Equal(t, "first", content)
	require.NoError(t, o.DeleteSnapshot(t.Context(), member))
	require.NoError(t, o.retainNothing(t.Context()))
	require.NoError(t, o.DeleteNamespaceLater(t.Context(), o.namespace))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot), "deleted from the other cluster")
}
