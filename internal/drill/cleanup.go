package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// CleanUpNotice tells somebody who interrupts a drill what it does before it ends, for
// limit at most.
func CleanUpNotice(limit time.Duration) string {
	return fmt.Sprintf("removing what the drill made, for %s at most; Ctrl-C once more ends it at once, and the next drill removes the rest...", limit)
}

// atOnce is of how many drills the remains are removed at once.
const atOnce = 8

// later is the hint where something could not be removed.
const later = "the next drill removes what is left, once it can. A finalizer waits for its controller: have that run, or take the finalizer off. " +
	"By hand: kubectl delete restores.velero.io,namespaces,leases -A -l " + labelDrill + "=ID"

// cleanUp removes all that this drill made.
func (d *drill) cleanUp(ctx context.Context) (string, error) {
	removed, err := d.remove(ctx, d.report.Drill, d.o.CleanUpTimeout)
	if err != nil {
		return "", check.Fail("of drill "+d.report.Drill+": "+err.Error(), later)
	}
	return removed + " gone", nil
}

// remains removes what drills left whose process was killed. What of theirs cannot be
// removed keeps no new drill from being made.
func (d *drill) remains(ctx context.Context) (string, error) {
	ids, running, err := d.dead(ctx)
	if err != nil {
		return "", err
	}
	removed, failed := d.removeAll(ctx, ids, d.o.CleanUpTimeout)
	detail := "none"
	if len(removed) > 0 {
		detail = "removed " + strings.Join(removed, "; ")
	}
	if len(running) > 0 {
		detail += "; under way: " + few(running)
	}
	if ctx.Err() == nil && len(failed) > 0 {
		return "", check.Warn(strings.Join(append(failed, detail), "; "), later)
	}
	return detail, nil
}

// removeAll removes what drills made, side by side: each waits for its namespaces to go.
func (c *Cluster) removeAll(ctx context.Context, ids []string, limit time.Duration) (removed, failed []string) {
	whats, errs := make([]string, len(ids)), make([]error, len(ids))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, id := range ids {
		group.Go(func() error {
			whats[i], errs[i] = c.remove(ctx, id, limit)
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	for i, id := range ids {
		if errs[i] != nil {
			failed = append(failed, "of drill "+id+": "+errs[i].Error())
		} else {
			removed = append(removed, whats[i]+" of drill "+id)
		}
	}
	return removed, failed
}

// dead are the drills whose process is gone, and those that are under way.
func (c *Cluster) dead(ctx context.Context) (ids, running []string, err error) {
	found, err := c.found(ctx)
	if err != nil {
		return nil, nil, err
	}
	names := slices.Sorted(maps.Keys(found))
	states := make([]bool, len(names))
	group, within := errgroup.WithContext(ctx)
	for i, id := range names {
		if found[id] == nil { // its Lease is made first and removed last
			states[i] = true
			continue
		}
		group.Go(func() (err error) {
			states[i], err = c.isDead(within, found[id])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, id := range names {
		if states[i] {
			ids = append(ids, id)
		} else {
			running = append(running, id+" by "+holder(found[id]))
		}
	}
	return ids, running, nil
}

// found are all drills of which there is anything, with their Leases. These are
// listed last: one that begins meanwhile has none of the others without it.
func (c *Cluster) found(ctx context.Context) (map[string]*object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all := map[string]*object{}
	for _, kind := range []kube.Unstructured{c.namespaces, c.restores, c.leases} {
		list, err := kind.List(ctx, c.selector(""))
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			if id := drillOf(o); id != "" {
				all[id] = nil
				if o.GetKind() == "Lease" {
					all[id] = o
				}
			}
		}
	}
	return all, nil
}

// remove removes what a drill made within a time, and says what that was. Its error says
// what is left. The Restore goes first: as long as it is there Velero may be restoring,
// and would make a namespace again.
func (c *Cluster) remove(ctx context.Context, id string, limit time.Duration) (removed string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not gone after %s", limit))
	defer cancel()
	restores, err := c.deleteAll(ctx, c.restores, id)
	if err != nil {
		return "", fmt.Errorf("the Restore, which Velero deletes if it runs: %w", err)
	}
	namespaces, volumes, err := c.removeScratch(ctx, id)
	contents := 0
	if err == nil {
		contents, err = c.removeContents(ctx, id)
	}
	// What is of the cluster goes even if a namespace does not, but after it: what
	// removes the finalizers in there may need it.
	ofCluster, failed := c.removeOfCluster(ctx, id)
	if err := errors.Join(err, failed); err != nil {
		return "", err
	}
	removed = fmt.Sprintf("%s, %s and %s", check.Count(restores, "Restore"), check.Count(namespaces, "namespace"), check.Count(volumes, "volume"))
	if ofCluster += contents; ofCluster > 0 {
		removed += fmt.Sprintf(", and %s of the cluster", check.Count(ofCluster, "object"))
	}
	_, err = c.deleteAll(ctx, c.leases, id)
	return removed, err
}

// removeScratch removes the scratch namespaces with the volumes of their claims.
func (c *Cluster) removeScratch(ctx context.Context, id string) (namespaces, volumes int, err error) {
	all, err := c.list(ctx, c.namespaces, id)
	if err != nil {
		return 0, 0, err
	}
	if volumes, err = c.freeVolumes(ctx, id); err != nil {
		return 0, 0, err
	}
	if err := c.deleteClaims(ctx, all); err != nil {
		return 0, 0, err
	}
	if _, err := c.deleteAll(ctx, c.namespaces, id); err != nil {
		return 0, 0, errors.Join(err, c.held(ctx, id))
	}
	return len(all), volumes, c.volumesGone(ctx, id)
}

// removeContents removes the VolumeSnapshotContents by which Velero, with EnableCSI, has
// restored from the backup's snapshots, and then those of their groups. The policy Retain
// leaves the snapshots in the storage.
func (c *Cluster) removeContents(ctx context.Context, id string) (int, error) {
	removed, err := deleteEach(ctx, c.Kube.VolumeSnapshotContents, labelRestore+"="+holderName(id), func(o *snapshotv1.VolumeSnapshotContent) bool {
		return o.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain && isScratch(id, o.Spec.VolumeSnapshotRef.Namespace)
	})
	if apierrors.IsNotFound(err) { // the cluster does not have the kind
		return 0, nil
	}
	if err != nil {
		return removed, err
	}
	stubs, err := c.removeStubs(ctx, id)
	return removed + stubs, err
}

// removeStubs removes the VolumeGroupSnapshotContents that Velero, with EnableCSI, makes
// for a Restore of snapshots that were taken as a group. It removes them itself at the end
// of the Restore, but not if that does not come to its end.
func (c *Cluster) removeStubs(ctx context.Context, id string) (int, error) {
	groups, err := c.Kube.GroupSnapshots(ctx)
	if err != nil || groups == nil {
		return 0, err
	}
	return deleteEach(ctx, groups.Contents, labelRestore+"="+holderName(id), func(o *kube.GroupSnapshotContent) bool {
		return isStub(id, o)
	})
}

// isStub tells whether a VolumeGroupSnapshotContent is as Velero makes it for the Restore: of a
// group that is in the storage and stays there, for a VolumeGroupSnapshot that does not exist.
// It refers to the original namespace, so that only its label says which drill's it is
// (Velero, pkg/restore/actions/csi/volumesnapshot_action.go).
func isStub(id string, o *kube.GroupSnapshotContent) bool {
	return o.Labels[labelRestore] == holderName(id) && o.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain && o.Spec.Source.Handles != nil &&
		o.Spec.Ref.UID == "" && o.Spec.Ref.Name == "stub-vgs-"+o.Name[:min(8, len(o.Name))]
}

// held says what holds the namespaces of a drill that do not go, in the words of
// Kubernetes.
func (c *Cluster) held(ctx context.Context, id string) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	left, err := c.list(ctx, c.namespaces, id)
	for _, n := range left {
		if why := heldBy(n); len(why) > 0 {
			err = errors.Join(err, fmt.Errorf("%s is left: %s", c.namespaces.Describe(n.GetName()), few(why)))
		}
	}
	return err
}

// heldBy are the conditions that a namespace has while it does not go
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/).
func heldBy(namespace *object) (why []string) {
	conditions, _, _ := unstructured.NestedSlice(namespace.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if message, _ := condition["message"].(string); condition["status"] == "True" {
			why = append(why, message)
		}
	}
	return why
}

// afterwards is a context for what is still done when the time of ctx is over, but not
// after a person's Ctrl-C.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
}

// drillOf is the ID of the drill that made an object, "" if its name and its labels do
// not fit together.
func drillOf(o *object) string {
	id, name := o.GetLabels()[labelDrill], o.GetName()
	if len(id) == idLength && (name == holderName(id) || name == clusterRestoreName(id) || isScratch(id, name)) {
		return id
	}
	return ""
}

// list returns the objects of one kind that a drill made.
func (c *Cluster) list(ctx context.Context, kind kube.Unstructured, id string) ([]*object, error) {
	all, err := kind.List(ctx, c.selector(id))
	return slices.DeleteFunc(all, func(o *object) bool { return drillOf(o) != id }), err
}

// deleteAll deletes the objects of a drill of one kind, and waits until they are gone.
func (c *Cluster) deleteAll(ctx context.Context, kind kube.Unstructured, id string) (int, error) {
	return deleteEach(ctx, kind, c.selector(id), func(o *object) bool { return drillOf(o) == id })
}

// deleteEach deletes the selected objects that are ours, and still are when they go.
func deleteEach[T kube.Object](ctx context.Context, kind kube.Resource[T], selector string, ours func(T) bool) (int, error) {
	all, err := kind.List(ctx, selector)
	if err != nil {
		return 0, err
	}
	still := func(o T) (kube.Patch, error) {
		if !ours(o) {
			return nil, errors.New("it was changed, and is not the drill's any more")
		}
		return nil, nil
	}
	all = slices.DeleteFunc(all, func(o T) bool { return !ours(o) })
	for _, o := range all {
		if _, err := kind.Delete(ctx, o, still); err != nil {
			return 0, err
		}
	}
	for _, o := range all {
		if err := kind.UntilGone(ctx, o); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// claimsWait is how long claims may take to go before their namespace is deleted too.
// Kubernetes looks after a namespace again only after some seconds if anything in it
// has a finalizer; a claim with a pod goes with the namespace.
const claimsWait = 3 * time.Second

func (c *Cluster) deleteClaims(ctx context.Context, namespaces []*object) error {
	var all []*corev1.PersistentVolumeClaim
	for _, n := range namespaces {
		name := n.GetName()
		list, err := c.Kube.Claims.In(name).List(ctx, "")
		if err != nil {
			return err
		}
		for _, claim := range list {
			if _, err := c.Kube.Claims.In(name).Delete(ctx, claim, nil); err != nil {
				return err
			}
		}
		all = append(all, list...)
	}
	within, cancel := context.WithTimeout(ctx, claimsWait)
	defer cancel()
	for _, claim := range all {
		if err := c.Kube.Claims.In(claim.Namespace).UntilGone(within, claim); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}
