package drill

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// annotationClusterResources has the kinds of the cluster on the Lease of a drill,
// separated by commas.
const annotationClusterResources = "longshore.dev/cluster-resources"

// never are kinds of the cluster that a drill does not restore: volumes come with
// their claims, and webhooks and API services would answer for the whole cluster from a
// namespace that is about to go.
var never = []string{
	"persistentvolumes", "namespaces", "nodes", "volumesnapshotcontents",
	"validatingwebhookconfigurations", "mutatingwebhookconfigurations", "apiservices",
}

// shortNames are other names of resources that matter here. Velero resolves all names
// (Velero, pkg/discovery).
var shortNames = map[string]string{
	"po": "pods", "pod": "pods", "pv": "persistentvolumes", "persistentvolume": "persistentvolumes",
	"pvc": "persistentvolumeclaims", "persistentvolumeclaim": "persistentvolumeclaims",
}

// ResourceName is the name under which a backup has a resource that a person has named.
func ResourceName(name string) string {
	name = strings.ToLower(name)
	return cmp.Or(shortNames[name], name)
}

// ValidateClusterResource refuses a kind that cannot be restored for a while.
func ValidateClusterResource(resource string) error {
	if plural, _, _ := strings.Cut(resource, "."); plural == "" || slices.Contains(never, plural) {
		return fmt.Errorf("%q is no kind of the cluster that a drill restores; it takes such as clusterroles.rbac.authorization.k8s.io, and not %s", resource, strings.Join(never, ", "))
	}
	return nil
}

// wantedOfCluster wants the kinds that were named to be in the backup, in a version in
// which they can be removed again.
func (d *drill) wantedOfCluster() error {
	for _, resource := range d.o.ClusterResources {
		version := d.plan.kinds[resource]
		switch {
		case d.plan.clusterScoped[resource] == 0:
			return check.Fail("the backup has nothing of the cluster's kind "+resource, "name one of its kinds in full, such as clusterroles.rbac.authorization.k8s.io")
		case version != "v1" && !strings.HasSuffix(version, "/v1"):
			return check.Fail(resource+" is in the backup as "+clean(version)+", and a drill restores v1 only", "leave it out")
		}
	}
	return nil
}

// clusterRestoreName is the name of the Restore of the cluster's objects.
func clusterRestoreName(id string) string { return holderName(id) + "-cluster" }

// clusterSpec restores the objects of the kinds that were named. What is there already
// stays as it is.
func (d *drill) clusterSpec(mapping map[string]any) map[string]any {
	return map[string]any{
		"backupName": d.name, "includedNamespaces": []any{"*"}, "includedResources": anys(d.o.ClusterResources),
		"includeClusterResources": true, "namespaceMapping": mapping, "existingResourcePolicy": "none",
	}
}

// removeOfCluster removes what the Restore of a drill made in the cluster. Velero labels
// that with the name of the Restore, which nobody else has.
func (c *Cluster) removeOfCluster(ctx context.Context, id string) (int, error) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	leases, err := c.list(ctx, c.leases, id)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, lease := range leases {
		for resource := range strings.SplitSeq(lease.GetAnnotations()[annotationClusterResources], ",") {
			if ValidateClusterResource(resource) != nil {
				continue
			}
			plural, group, _ := strings.Cut(resource, ".")
			kind, err := c.Kube.Unstructured(group, resource, plural)
			if err != nil {
				return removed, err
			}
			n, err := deleteEach(ctx, kind, labelRestore+"="+clusterRestoreName(id), func(*object) bool { return true })
			removed += n
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}
