package snapshotter

import (
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

// ErrNoGroups says that there is nothing here to take groups by.
var ErrNoGroups = errors.New("group snapshots are not to be had here")

// How long an application that is frozen is kept so for its group to be taken as one, where
// its snapshots can be taken side by side instead.
const (
	// beginTimeout is how long csi-snapshotter has to begin with a group. One without its
	// feature gate never does.
	beginTimeout = 15 * time.Second
	// groupGrace is how long the driver may answer with errors. csi-snapshotter repeats
	// its request after 1, 2, 4 and 8 seconds.
	groupGrace = 15 * time.Second
	// groupTimeout is how long the driver has in all.
	groupTimeout = 2 * time.Minute
)

// takeAsOne takes the snapshots of all members by one VolumeGroupSnapshotContent, and
// returns their IDs by the keys of the journal. It needs the API of group snapshots and a
// VolumeGroupSnapshotClass of the driver.
func (c creation) takeAsOne(ctx context.Context, members []creation) (map[string]string, error) {
	if slices.ContainsFunc(members, func(m creation) bool { return m.wanted.Labels[objects.LabelManagedByNode] != "" }) {
		return nil, fmt.Errorf("%w: driver %s has a csi-snapshotter on each node", ErrNoGroups, c.id.Driver)
	}
	api, all, err := c.groupClasses(ctx)
	if err != nil {
		return nil, err
	}
	class, secret, err := chooseGroupClass(c.id.Driver, c.backup, all)
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
		err = fmt.Errorf("%w: the cluster has no API of group snapshots (groupsnapshot.storage.k8s.io v1 or v1beta2)", ErrNoGroups)
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

// chooseGroupClass returns the class for groups of a driver's volumes, and its secret.
func chooseGroupClass(driver string, backup veleroBackup, all []*classes.GroupClass) (class *classes.GroupClass, secret ids.SecretRef, err error) {
	class, err = classes.ForGroup(driver, backup.Annotations, all)
	if err == nil && class == nil {
		err = fmt.Errorf("%w: driver %s has no VolumeGroupSnapshotClass", ErrNoGroups, driver)
	}
	if err == nil {
		secret, err = classes.GroupSecret(class)
	}
	return class, secret, err
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
		err = g.letGo(ctx, content)
	}
	if err != nil {
		// It does not wait for the driver: the snapshots may be taken side by side now.
		g.groupContent(g.api, content).discard(ctx, g.log, groupState.askDeletion, slices.Collect(maps.Values(taken))...)
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

// waitTaken waits until the storage has taken the group and, if so set and Velero does not
// follow it, until it can be restored.
func (g groupCreation) waitTaken(ctx context.Context, content *kube.GroupSnapshotContent) (*kube.GroupSnapshotContent, error) {
	content, err := g.waitNamed(ctx, content)
	if err != nil {
		return content, err
	}
	g.noteDriver(ctx, content.Status.ReadyToUse)
	if !g.waitsForReady() {
		return content, nil
	}
	ctx, errs := g.tolerate(ctx, g.log)
	defer errs.stop()
	return g.groupContent(g.api, content).wait(ctx, errs, "the group to be ready to restore (waitFor: "+g.settings.WaitFor+")", func(now *kube.GroupSnapshotContent) (bool, error) {
		return now.Status.ReadyToUse, nil
	})
}

// waitNamed waits until the storage has taken the group and named it with all its
// snapshots, and not for long where they can be taken side by side instead.
func (g groupCreation) waitNamed(ctx context.Context, content *kube.GroupSnapshotContent) (*kube.GroupSnapshotContent, error) {
	ctx, errs := g.tolerate(ctx, g.log)
	defer errs.stop()
	limit := g.settings.SnapshotTimeout
	if g.settings.Groups != GroupsRequire {
		limit = min(limit/2, groupTimeout)
		errs.grace, errs.counts = min(errs.grace, g.groupGrace), true
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	soon, cancelSoon := context.WithTimeout(ctx, g.beginTimeout)
	defer cancelSoon()
	begins := func(now *kube.GroupSnapshotContent) (bool, error) { return objects.GroupAsked(now), nil }
	content, err := g.groupContent(g.api, content).wait(soon, errs, "csi-snapshotter, with its feature gate CSIVolumeGroupSnapshot, to begin", begins)
	if err != nil {
		return content, err
	}
	return g.groupContent(g.api, content).wait(ctx, errs, "the group to be taken", func(now *kube.GroupSnapshotContent) (bool, error) { return objects.GroupTaken(now), nil })
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

// letGo is that of the content. Velero tells of the other volumes later.
func (g groupCreation) letGo(ctx context.Context, content *kube.GroupSnapshotContent) error {
	err := g.groupContent(g.api, content).letGo(ctx, g.operation, g.log)
	if err != nil || g.operation == "" {
		return err
	}
	for _, m := range g.members {
		g.begun.join(g.call.Backup, m.id.PV, g.operation)
	}
	return nil
}
