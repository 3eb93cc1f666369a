package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// kind is one of an archive, in one version of its API.
type kind struct {
	resource string // such as deployments.apps, which is also the name of its CRD
	version  string // such as apps/v1
	// plain says that it stands where a restore looks first. Velero keeps the other
	// versions that a cluster had for restores with EnableAPIGroupVersions.
	plain bool
}

// needs are what the items of an archive need of a cluster.
type needs struct {
	kinds       map[kind]int // how many items there are
	definitions map[string]bool
	classes     map[string]string // StorageClasses, each with a claim that names it
}

// note notes what a restore of an item needs.
func (n *needs) note(i *backups.Item, place backups.Place) {
	if n.kinds == nil {
		*n = needs{map[kind]int{}, map[string]bool{}, map[string]string{}}
	}
	n.kinds[kind{place.Resource, i.APIVersion, place.Version == ""}]++
	switch place.Resource {
	case "customresourcedefinitions.apiextensions.k8s.io":
		n.definitions[place.Name] = true
	case "persistentvolumeclaims":
		if class := storageClass(i.Spec); class != "" {
			n.classes[class] = cmp.Or(n.classes[class], i.ID())
		}
	}
}

// leftOut are kinds that Velero never restores (Velero, pkg/controller/restore_controller.go).
var leftOut = []string{
	"nodes", "events", "events.events.k8s.io", "backups.velero.io", "restores.velero.io", "resticrepositories.velero.io",
	"backuprepositories.velero.io", "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io",
}

// notRead is how a step ends that needs to know the archive.
func (b *backup) notRead() error { return check.Skip("the archive was not read to its end") }

// servedKinds wants the cluster to serve all kinds of the archive: Velero leaves
// items of others out of a restore, and says so in the log alone. Kinds come along
// whose definitions are in the archive.
func (b *backup) servedKinds(ctx context.Context, c *Cluster) (string, error) {
	if b.needs == nil {
		return "", b.notRead()
	}
	var f findings
	defined := 0
	for _, k := range slices.SortedFunc(maps.Keys(b.needs.kinds), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.version, b.version))
	}) {
		if !k.plain || slices.Contains(leftOut, k.resource) {
			continue
		}
		if b.needs.definitions[k.resource] {
			defined++
			continue
		}
		served, err := c.serves(ctx, k.version, k.plural())
		if err != nil {
			return "", err
		}
		if served {
			continue
		}
		if err := b.missingKind(ctx, &f, c, k); err != nil {
			return "", err
		}
	}
	detail := "all are served here"
	if defined > 0 {
		detail += fmt.Sprintf(", or defined by the backup (%d)", defined)
	}
	return f.end(detail, "Velero leaves these out of a restore into this cluster, and says so in its log alone: "+
		"install what defines the kind, such as a CustomResourceDefinition with its operator, or convert the items to a version that kubectl api-versions lists")
}

func (k kind) plural() string { plural, _, _ := strings.Cut(k.resource, "."); return plural }

// missingKind tells whether the kind comes back in another version.
func (b *backup) missingKind(ctx context.Context, f *findings, c *Cluster, k kind) error {
	for other := range b.needs.kinds {
		if other.resource != k.resource || other.version == k.version {
			continue
		}
		served, err := c.serves(ctx, other.version, k.plural())
		if err != nil {
			return err
		}
		if served {
			f.warn("%s is not served here as %s, only as %s, which Velero restores with the feature EnableAPIGroupVersions", k.resource, k.version, other.version)
			return nil
		}
	}
	f.fail("%s is not served here as %s: %s", k.resource, k.version, check.Count(b.needs.kinds[k], "item"))
	return nil
}
