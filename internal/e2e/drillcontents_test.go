package e2e

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// content is a VolumeSnapshotContent, or a VolumeGroupSnapshotContent.
type content struct {
	kind    schema.GroupVersionResource
	client  dynamic.ResourceInterface
	name    string
	ofDrill bool // as Velero, with EnableCSI, makes it for the Restore of a drill
}

// plantContents makes those that the Restore of a drill leaves which does not come to its
// end, and others that are like them but for one thing.
func (d *drills) plantContents(id string) (all []content) {
	d.Helper()
	ours, scratch := "longshore-drill-"+id, scratchOf(id, alsoDrilled)
	snapshots := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
	all = append(all,
		d.plant(snapshots, "ours", ours, scratch, "s", "Retain"),
		d.plant(snapshots, "of-another-restore", "nightly", scratch, "s", "Retain"),
		d.plant(snapshots, "of-another-namespace", ours, alsoDrilled, "s", "Retain"),
		d.plant(snapshots, "with-its-snapshot", ours, scratch, "s", "Delete"))
	if groups := d.groupContents(); groups.Version != "" {
		all = append(all,
			d.plant(groups, "ours5678", ours, alsoDrilled, "stub-vgs-ours5678", "Retain"),
			d.plant(groups, "of-another-restore", "nightly", alsoDrilled, "stub-vgs-of-anoth", "Retain"),
			d.plant(groups, "of-a-real-group", ours, alsoDrilled, "orders", "Retain"),
			d.plant(groups, "with-its-snapshots", ours, alsoDrilled, "stub-vgs-with-its", "Delete"))
	}
	return all
}

// groupContents is the kind of VolumeGroupSnapshotContents. It has no version if the cluster
// has none.
func (d *drills) groupContents() schema.GroupVersionResource {
	served, err := d.cluster.Kube.Discovery().ServerGroups()
	require.NoError(d, err)
	kind := schema.GroupVersionResource{Group: "groupsnapshot.storage.k8s.io", Resource: "volumegroupsnapshotcontents"}
	for _, group := range served.Groups {
		for _, version := range group.Versions {
			if group.Name == kind.Group && slices.Contains([]string{"v1", "v1beta2"}, version.Version) {
				kind.Version = version.Version
			}
		}
	}
	return kind
}

// plant makes one, of a snapshot or a group that the driver does not have.
func (d *drills) plant(kind schema.GroupVersionResource, name, restore, namespace, ref, policy string) content {
	d.Helper()
	spec := fmt.Sprintf("volumeSnapshotRef: {namespace: %s, name: %s}, source: {snapshotHandle: none}", namespace, ref)
	of := "VolumeSnapshotContent"
	if kind.Group != "snapshot.storage.k8s.io" {
		spec = fmt.Sprintf("volumeGroupSnapshotRef: {namespace: %s, name: %s}, source: {groupSnapshotHandles: {volumeGroupSnapshotHandle: none, volumeSnapshotHandles: [none]}}", namespace, ref)
		of = "VolumeGroupSnapshotContent"
	}
	require.NoError(d, d.cluster.Apply(d.Context(), fmt.Sprintf(
		"{apiVersion: %s, kind: %s, metadata: {name: %s, labels: {velero.io/restore-name: %s}}, spec: {driver: %s, deletionPolicy: %s, %s}}",
		kind.GroupVersion(), of, name, restore, testbed.DriverName, policy, spec)))
	return content{kind: kind, client: d.cluster.Dynamic.Resource(kind), name: name, ofDrill: strings.HasPrefix(name, "ours")}
}

// dryDelete asks whether the account may delete one.
func (d *drills) dryDelete(account *testbed.Account, c content) error {
	return d.asAccount(account, c.kind.Group, c.kind.Version, c.kind.Resource).Delete(d.Context(), c.name, metav1.DeleteOptions{DryRun: dry})
}

// refusedContents are the deletions that a drill's account may not do.
func (d *drills) refusedContents(account *testbed.Account, contents []content) map[string]func() error {
	all := map[string]func() error{}
	for _, c := range contents {
		if !c.ofDrill {
			all["delete "+c.kind.Resource+" "+c.name] = func() error { return d.dryDelete(account, c) }
		}
	}
	return all
}

// mayRemoveContents wants the account to be allowed to delete those of drills, and to change
// none.
func (d *drills) mayRemoveContents(account *testbed.Account, contents []content) {
	d.Helper()
	for _, c := range contents {
		if c.ofDrill {
			require.NoError(d, d.dryDelete(account, c), "%s %s", c.kind.Resource, c.name)
		}
		_, err := d.asAccount(account, c.kind.Group, c.kind.Version, c.kind.Resource).Patch(d.Context(), c.name, types.MergePatchType, []byte(`{"spec": {"deletionPolicy": "Retain"}}`), metav1.PatchOptions{DryRun: dry})
		require.True(d, apierrors.IsForbidden(err), "%s %s: %v", c.kind.Resource, c.name, err)
	}
}

// removeContents removes those that no drill does.
func (d *drills) removeContents(contents []content) {
	d.Helper()
	for _, c := range contents {
		if c.ofDrill {
			continue
		}
		require.NoError(d, c.client.Delete(d.Context(), c.name, metav1.DeleteOptions{}))
		d.await(c.kind.Resource+" "+c.name+" to go", func() bool { return d.find(c.client, c.name) == nil })
	}
}
