package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// enableCSI is the feature without which Velero leaves out all of its own actions that
// restore snapshots or moved data (Velero, pkg/util/csi/util.go).
const enableCSI = "EnableCSI"

// velerosFeatures wants Velero to restore what it saved with EnableCSI.
func (b *backup) velerosFeatures(ctx context.Context, c *Cluster) (string, error) {
	if c.features == nil {
		names, err := c.Features(ctx)
		c.features = &features{names, err}
	}
	saved := check.Count(b.csi+len(b.moved), "volume")
	switch err := c.features.err; {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return "", check.Warn("whether Velero runs with "+enableCSI+" cannot be told: "+err.Error(),
			"it restores "+saved+" of this backup only with "+enableCSI+" among --features in the arguments of its server; without it the claims come back empty")
	case err != nil:
		return "", err
	case !slices.Contains(c.features.names, enableCSI):
		return "", check.Fail(fmt.Sprintf("Velero saved %s with %s, and runs without it: their claims would come back empty", saved, enableCSI),
			"to restore this backup, put "+enableCSI+" back into --features in the arguments of Velero's Deployment; read this first: "+docs.Page("migrate-from-enablecsi.md"))
	}
	return enableCSI + " is among them", nil
}

func storageClass(spec json.RawMessage) string {
	var claim struct {
		StorageClassName string `json:"storageClassName"`
	}
	if json.Unmarshal(spec, &claim) != nil {
		return ""
	}
	return claim.StorageClassName
}

// claimClasses looks for the StorageClasses that the claims of the archive name. A
// claim that is bound to a restored volume does without.
func (b *backup) claimClasses(ctx context.Context, c *Cluster) (string, error) {
	if b.needs == nil {
		return "", b.notRead()
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	list, err := c.once.StorageClasses.List(ctx, "")
	if err != nil {
		return "", err
	}
	mapping, err := snapshotter.VeleroMapping(ctx, c.once, c.Namespace)
	if err != nil {
		return "", err
	}
	var mapped map[string]string
	if mapping != nil {
		mapped = mapping.Data
	}
	var f findings
	for _, name := range slices.Sorted(maps.Keys(b.needs.classes)) {
		class := cmp.Or(mapped[name], name)
		if !slices.ContainsFunc(list, func(s *storagev1.StorageClass) bool { return s.Name == class }) {
			f.warn("StorageClass %s is not in this cluster; claim %s names %s", class, b.needs.classes[name], name)
		}
	}
	return f.end("all that claims name are here", "claims of it stay Pending unless their volumes are restored from snapshots or are there already: "+
		"create the class, or map it to another by Velero's ConfigMap (labels "+snapshotter.MappingLabels+")")
}

// snapshot is one of this plugin.
type snapshot struct {
	*backups.Snapshot
	pv, id string
}

// ours are the completed snapshots whose IDs this plugin reads; others counts those
// of other plugins, and those that Velero took itself.
func (b *backup) ours() (all []snapshot, others int) {
	for i := range b.taken {
		s := &b.taken[i]
		switch _, ours, err := snapshotter.ReadID(s.Status.ID); {
		case !ours:
			others++
		case err == nil:
			all = append(all, snapshot{s, s.Spec.PersistentVolume, s.Status.ID})
		}
	}
	return all, others + b.csi
}

// restorable wants all that a restore of each snapshot needs in this cluster: its
// location, the driver, a StorageClass, and the secrets.
func (b *backup) restorable(ctx context.Context, c *Cluster) (string, error) {
	ours, _ := b.ours()
	if len(ours) == 0 {
		return "", check.Skip("there is no snapshot of this plugin")
	}
	var f findings
	seen := map[string]bool{}
	for _, s := range ours {
		class, err := c.restoreClass(ctx, s)
		if err != nil {
			f.fail("the snapshot of volume %s: %v", s.pv, err)
			continue
		}
		if err := c.lookUpClass(ctx, &f, s, class.Provisioner); err != nil {
			return "", err
		}
		for _, secret := range secretsOf(class.Parameters) {
			if !seen[secret] {
				seen[secret] = true
				c.secret(ctx, &f, s, secret)
			}
		}
	}
	return f.end("location, driver, class and secrets are here", "a restore into this cluster would fail by this: "+
		"create what is missing, or name another in the VolumeSnapshotLocation (storageClass.OLD, driver.OLD; see "+docs.Page("configuration.md")+")")
}

func (c *Cluster) restoreClass(ctx context.Context, s snapshot) (*storagev1.StorageClass, error) {
	l, err := c.location(ctx, s.Spec.Location)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	return l.patient.RestoreClass(ctx, s.id, s.Spec.VolumeType)
}

// lookUpClass wants a VolumeSnapshotClass with a secret for looking the snapshot up,
// if it was taken with one: csi-snapshotter finds that secret nowhere else.
func (c *Cluster) lookUpClass(ctx context.Context, f *findings, s snapshot, driver string) error {
	const parameter = "csi.storage.k8s.io/snapshotter-list-secret-name"
	id, _, _ := snapshotter.ReadID(s.id)
	if id.ListSecret.Name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	list, err := c.once.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return err
	}
	for _, class := range list {
		if class.Driver == driver && class.Parameters[parameter] != "" {
			return nil
		}
	}
	f.fail("the snapshot of volume %s was taken with VolumeSnapshotClass %s and is looked up with a secret (%s), and no VolumeSnapshotClass of driver %s names one by %s",
		s.pv, id.Class, id.ListSecret, driver, parameter)
	return nil
}

// secretsOf are the secrets that a StorageClass names, as namespace/name.
func secretsOf(parameters map[string]string) []string {
	var all []string
	for key, name := range parameters {
		for _, ending := range []string{"secret-name", "SecretName"} {
			before, is := strings.CutSuffix(key, ending)
			namespace := parameters[before+strings.NewReplacer("name", "namespace", "Name", "Namespace").Replace(ending)]
			if is && name != "" && namespace != "" {
				all = append(all, namespace+"/"+name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// secret wants a Secret to be there. What is in it is not looked at.
func (c *Cluster) secret(ctx context.Context, f *findings, s snapshot, secret string) {
	namespace, name, _ := strings.Cut(secret, "/")
	there, err := c.read(ctx, fmt.Sprintf("/api/v1/namespaces/%s/secrets/%s", url.PathEscape(namespace), url.PathEscape(name)), &struct{}{})
	switch {
	case apierrors.IsForbidden(err):
		f.warn("whether Secret %s is there cannot be told: it may not be read", secret)
	case err != nil:
		f.fail("Secret %s: %v", secret, err)
	case !there:
		f.fail("Secret %s, which the StorageClass names with which volume %s would be restored, is not in this cluster", secret, s.pv)
	}
}
