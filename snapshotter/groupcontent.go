package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// groupCreation is one group snapshot being taken, for the first of its members.
type groupCreation struct {
	creation
	api     *kube.GroupSnapshots
	class   *classes.GroupClass
	secret  ids.SecretRef
	members []creation
}

// errNoGroups says that there is nothing here to take groups by.
var errNoGroups = errors.New("group snapshots are not to be had here")

// beginTimeout is how long csi-snapshotter has to begin with a group. One without its
// feature gate never does.
var beginTimeout = 15 * time.Second

// takeAsOne takes the snapshots of all members by one VolumeGroupSnapshotContent, and
// returns their IDs by the keys of the journal. It needs the API of group snapshots and a
// VolumeGroupSnapshotClass of the driver.
func (c creation) takeAsOne(ctx context.Context, members []creation) (map[string]string, error) {
	if slices.ContainsFunc(members, func(m creation) bool { return m.wanted.Labels[objects.LabelManagedByNode] != "" }) {
		return nil, fmt.Errorf("%w: driver %s has a csi-snapshotter on each node", errNoGroups, c.id.Driver)
	}
	api, all, err := c.groupClasses(ctx)
	if err != nil {
		return nil, err
	}
	class, err := classes.ForGroup(c.id.Driver, c.backup.Annotations, all)
	if err == nil && class == nil {
		err = fmt.Errorf("%w: driver %s has no VolumeGroupSnapshotClass", errNoGroups, c.id.Driver)
	}
	if err != nil {
		return nil, err
	}
	secret, err := classes.GroupSecret(class)
	if err != nil {
		return nil, err
	}
	g := groupCreation{c, api, class, secret, members}
	g.call = c.newCall(objects.Group, c.settings.SnapshotTimeout)
	g.call.Backup = c.call.Backup
	g.log = c.logFor(g.call).WithField("groupSnapshotClass", class.Name)
	return g.take(ctx)
}

// groupClasses returns the clients for group snapshots and the classes of all drivers.
func (s *Snapshotter) groupClasses(ctx context.Context) (*kube.GroupSnapshots, []*classes.GroupClass, error) {
	api, err := s.kube.GroupSnapshots(ctx)
	if err == nil && api == nil {
		err = fmt.Errorf("%w: the cluster has no API of group snapshots (groupsnapshot.storage.k8s.io v1 or v1beta2)", errNoGroups)
	}
	if err != nil {
		return nil, nil, err
	}
	list, err := api.Classes.List(ctx, "")
	var all []*classes.GroupClass
	for _, class := range list {
		all = append(all, &classes.GroupClass{ObjectMeta: class.ObjectMeta, Driver: class.Driver, Parameters: class.Parameters})
	}
	return api, all, err
}

// take takes the group. At every moment the cluster knows it, by the content or by the
// journal, which has the IDs of all members before the content goes.
func (g groupCreation) take(ctx context.Context) (taken map[string]string, err error) {
	content, err := g.api.Contents.Create(ctx, g.content())
	if err == nil {
		content, err = g.waitTaken(ctx, content)
	}
	if err == nil {
		taken, err = g.describe(content)
	}
	if err == nil {
		err = g.writeDown(ctx, taken)
	}
	if err == nil {
		err = g.forgetGroup(ctx, g.api, content)
	}
	if err != nil {
		g.discard(ctx, content, taken)
		return nil, err
	}
	g.log.WithField("handle", ids.Short(content.Status.Handle)).Infof("snapshots of %d volumes of the group were taken as one", len(taken))
	return taken, nil
}

// content asks for the group. As with single snapshots its VolumeGroupSnapshot never
// exists.
func (g groupCreation) content() *kube.GroupSnapshotContent {
	content := &kube.GroupSnapshotContent{
		ObjectMeta: g.call.Meta("", classes.GroupAnnotations(g.secret), map[string]string{objects.AnnotationGroupBeingDeleted: "yes"}),
		Spec: kube.GroupSnapshotContentSpec{
			DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
			Driver:         g.id.Driver,
			ClassName:      g.class.Name,
			Ref:            corev1.ObjectReference{Namespace: g.claim.Namespace, Name: g.call.Name(), UID: g.call.UID},
		},
	}
	content.Finalizers = []string{objects.FinalizerGroup}
	for _, m := range g.members {
		content.Spec.Source.VolumeHandles = append(content.Spec.Source.VolumeHandles, m.id.Handle)
	}
	return content
}

// waitTaken waits until the storage has taken the group and, if so set, until it can be
// restored. It leaves time for the snapshots to be taken side by side instead.
func (g groupCreation) waitTaken(ctx context.Context, content *kube.GroupSnapshotContent) (*kube.GroupSnapshotContent, error) {
	ctx, errs := g.tolerate(ctx, g.log)
	defer errs.stop()
	soon, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	content, err := g.waitGroup(soon, g.api, content, errs, "csi-snapshotter, with its feature gate CSIVolumeGroupSnapshot, to begin", objects.GroupAsked)
	if err != nil {
		return content, err
	}
	quick, cancelQuick := context.WithTimeout(ctx, g.settings.SnapshotTimeout/2)
	defer cancelQuick()
	content, err = g.waitGroup(quick, g.api, content, errs, "the group to be taken", objects.GroupTaken)
	if err != nil {
		return content, err
	}
	g.noteDriver(ctx, content.Status.ReadyToUse)
	if g.settings.WaitFor == WaitForHandle {
		return content, nil
	}
	return g.waitGroup(ctx, g.api, content, errs, "the group to be ready to restore (waitFor: "+g.settings.WaitFor+")", func(now *kube.GroupSnapshotContent) bool { return now.Status.ReadyToUse })
}

// waitGroup waits for csi-snapshotter to do with a content of a group what done looks for.
// It ends when the driver fails for longer than errs accepts, or refuses.
func (s *Snapshotter) waitGroup(ctx context.Context, api *kube.GroupSnapshots, content *kube.GroupSnapshotContent, errs *tolerance, until string, done func(now *kube.GroupSnapshotContent) bool) (*kube.GroupSnapshotContent, error) {
	target := kube.Target{
		Name: content.Name, Object: api.Contents.Describe(content.Name),
		Until: until + ", for which driver " + content.Spec.Driver + " and its csi-snapshotter have to act",
	}
	return api.Contents.Until(ctx, target, content, func(now *kube.GroupSnapshotContent) (bool, string, error) {
		switch {
		case now == nil || now.DeletionTimestamp != nil:
			return false, "", fmt.Errorf("%s was deleted by someone else", target.Object)
		case done(now):
			return true, "", nil
		}
		message := objects.ErrorText(now.Status.Error)
		if drivererr.Refused(message) {
			return false, "", fmt.Errorf("%s: the driver refuses it: %s", target.Object, message)
		}
		errs.report(message)
		return false, objects.GroupState(now), nil
	})
}

// describe returns the IDs of all members.
func (g groupCreation) describe(content *kube.GroupSnapshotContent) (map[string]string, error) {
	group := ids.Group{Handle: content.Status.Handle, Class: g.class.Name, DeleteSecret: g.secret}
	for _, member := range content.Status.Snapshots {
		group.Members = append(group.Members, member.SnapshotHandle)
	}
	taken := map[string]string{}
	for _, m := range g.members {
		member := objects.MemberOf(content, m.id.Handle)
		if member.SnapshotHandle == "" {
			return nil, fmt.Errorf("%s: the driver has taken the group, and names no snapshot of volume %s in it", g.api.Contents.Describe(content.Name), ids.Short(m.id.Handle))
		}
		single := m.wanted.DeepCopy()
		single.Status = &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: &member.SnapshotHandle, RestoreSize: member.RestoreSize}
		id := m.describe(single)
		id.Group = group
		taken[m.key] = g.keys.Sign(id)
	}
	return taken, nil
}

func (g groupCreation) writeDown(ctx context.Context, taken map[string]string) error {
	for _, m := range g.members {
		if err := m.writeDown(ctx, taken[m.key]); err != nil {
			return err
		}
	}
	return nil
}

// forgetGroup removes the content of a group and leaves the group in the storage.
func (s *Snapshotter) forgetGroup(ctx context.Context, api *kube.GroupSnapshots, content *kube.GroupSnapshotContent) error {
	forgotten, err := api.Contents.Delete(ctx, content, func(now *kube.GroupSnapshotContent) (kube.Patch, error) {
		if now.DeletionTimestamp != nil || now.Status.Handle != content.Status.Handle {
			return nil, fmt.Errorf("%s was changed by someone else: its deletion has begun, or its handle is another", api.Contents.Describe(now.Name))
		}
		return kube.Patch{
			"metadata": map[string]any{"finalizers": withoutGroupFinalizer(now)},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
		}, nil
	})
	if err == nil && forgotten.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain {
		err = fmt.Errorf("%s was deleted by someone else, maybe with its group", api.Contents.Describe(content.Name))
	}
	if err != nil {
		return fmt.Errorf("keep the group: %w", err)
	}
	return nil
}

func withoutGroupFinalizer(content *kube.GroupSnapshotContent) []string {
	return slices.DeleteFunc(append([]string{}, content.Finalizers...), func(s string) bool { return s == objects.FinalizerGroup })
}

// discard removes the content of a failed call together with the group that may have been
// taken. The journal lets go of it first: what is in there may be in a backup.
func (g groupCreation) discard(ctx context.Context, content *kube.GroupSnapshotContent, taken map[string]string) {
	if content == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	err := g.takeOutIDs(ctx, slices.Collect(maps.Values(taken))...)
	if err == nil {
		err = g.deleteGroup(ctx, g.api, content)
	}
	if err != nil {
		g.log.WithError(err).Warn("the unfinished group is not removed yet; csi-snapshotter goes on with it, and so does the next sweep")
	}
}

// deleteGroup has csi-snapshotter delete a content of ours together with its group, and
// returns when both are gone.
func (s *Snapshotter) deleteGroup(ctx context.Context, api *kube.GroupSnapshots, content *kube.GroupSnapshotContent) error {
	deleted, err := api.Contents.Delete(ctx, content, func(now *kube.GroupSnapshotContent) (kube.Patch, error) {
		finalizers := withoutGroupFinalizer(now)
		switch {
		case objects.PurposeOf(now) == "":
			return nil, fmt.Errorf("%s is not of this plugin's making, and is left alone", api.Contents.Describe(now.Name))
		case now.DeletionTimestamp != nil:
			return nil, nil
		case now.Spec.Source.Handles != nil || objects.GroupAsked(now):
			finalizers = append(finalizers, objects.FinalizerGroup)
		}
		return kube.Patch{
			"metadata": map[string]any{"finalizers": finalizers, "annotations": map[string]string{objects.AnnotationGroupBeingDeleted: "yes"}},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
		}, nil
	})
	if err != nil {
		return err
	}
	ctx, errs := s.tolerate(ctx, s.log.WithField("content", content.Name))
	defer errs.stop()
	s.watchWarnings(ctx, deleted, errs.report)
	target := kube.Target{Name: content.Name, Object: api.Contents.Describe(content.Name), Until: "driver " + content.Spec.Driver + " and its csi-snapshotter to delete it"}
	_, err = api.Contents.Until(ctx, target, deleted, func(now *kube.GroupSnapshotContent) (bool, string, error) {
		if now == nil || now.UID != deleted.UID {
			return true, "", nil
		}
		errs.report(objects.ErrorText(now.Status.Error))
		return false, cmp.Or(errs.message(), fmt.Sprintf("finalizers %v", now.Finalizers)), nil
	})
	return err
}
