package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// veleroGroup is the label that Velero groups claims by, and writes into each Backup that
// names no other, from version 1.17 on. Versions before do not group: hooks that freeze
// one pod of a group may not have run when a volume of another is asked for.
const veleroGroup = "velero.io/volume-group"

// The values of Settings.Groups.
const (
	GroupsAuto    = "auto"
	GroupsRequire = "require"
	GroupsOff     = "off"
)

// group are the claims of a namespace that have the group label with one value.
type group struct{ namespace, label, value string }

func (g group) String() string {
	return fmt.Sprintf("%s=%s in namespace %s", g.label, g.value, g.namespace)
}

// selector selects the claims of the group that Velero backs up.
func (g group) selector() string {
	return labels.Set{g.label: g.value}.String() + "," + objects.LabelExclude + "!=true"
}

// groupOf returns the group that the volume belongs to; grouped is false if it is to be
// taken by itself.
func (c creation) groupOf() (g group, grouped bool) {
	if c.claim == nil || c.settings.Groups == GroupsOff {
		return group{}, false
	}
	label := cmp.Or(c.backup.Spec.VolumeGroupSnapshotLabelKey, veleroGroup)
	value := c.claim.Labels[label]
	return group{c.claim.Namespace, label, value}, value != ""
}

// groupSnapshots is what a call for one volume of a group finds or takes.
type groupSnapshots struct {
	taken  map[string]string // IDs by the key of the volume in the journal
	fresh  bool              // whether this call has taken them
	failed map[string]error  // of the same keys, where this call has tried and failed
	absent []error           // why claims of the group have no snapshot
}

// groupCalls has calls for one group that come at the same time share their work.
var groupCalls singleflight.Group

// takeInGroup returns the snapshot of a volume that belongs to a group. The first call
// of a backup for one of the group's volumes takes the snapshots of all of them, as one
// if the driver can, else side by side, so that an application that is frozen is frozen
// for the shortest time. Later calls of the backup find theirs in the journal. What is
// never asked for is in no stored list. A sweep removes it when the backup is over; a
// member of a group that was taken as one goes with the others when the backup is deleted.
func (c creation) takeInGroup(ctx context.Context, g group) (string, error) {
	c.log = c.log.WithField("group", g.String())
	if c.backup.Spec.VolumeGroupSnapshotLabelKey == "" {
		return c.takeAlone(ctx, g, errors.New("its Backup cannot be read, or names no label of groups: Velero before 1.17 does not group volumes"))
	}
	c.key = c.groupKey()
	shared, err, _ := groupCalls.Do(fmt.Sprint(c.backup.UID, g, c.id.Driver), func() (any, error) { return c.ofGroup(ctx, g) })
	if err != nil {
		return "", fmt.Errorf("group %s: %w", g, err)
	}
	found := shared.(groupSnapshots)
	switch id, err := found.taken[c.key], found.failed[c.key]; {
	case id != "":
		return id, c.requireOwn(ctx, id, found.fresh)
	case err != nil:
		return "", err
	}
	return c.takeAlone(ctx, g, cmp.Or(errors.Join(found.absent...), errTakenWithout))
}

// errTakenWithout says that a volume has come too late for its group.
var errTakenWithout = errors.New("the snapshots of its group were taken without it")

// takeAlone takes the snapshot of a volume without the others of its group.
func (c creation) takeAlone(ctx context.Context, g group, why error) (string, error) {
	if c.settings.Groups == GroupsRequire {
		return "", fmt.Errorf("group %s is not taken as one, which groups: require demands: %w", g, why)
	}
	c.log.WithError(why).Warn("the snapshot is taken at another time than those of its group")
	id, _, err := c.take(ctx)
	return id, err
}

// groupKey is the key of the volume in the journal of a backup.
func (c creation) groupKey() string {
	text := fmt.Sprintf("%s %s %q %q", c.backup.UID, c.volume.UID, c.id.Driver, c.id.Handle)
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(text)).String()
}

// requireOwn fails unless an ID of the journal is one of this volume: others may be able
// to write there. An ID that is not fresh is returned only with its content gone.
func (c creation) requireOwn(ctx context.Context, id string, fresh bool) error {
	found, err := c.keys.Parse(id, c.settings.RequireSignature)
	if err == nil && (found.Driver != c.id.Driver || found.PV != c.id.PV) {
		err = fmt.Errorf("it is of PersistentVolume %q of driver %s", found.PV, found.Driver)
	}
	if err != nil {
		return fmt.Errorf("the journal has another snapshot for the volume: %w", err)
	}
	if fresh {
		return nil
	}
	return c.keepWritten(ctx, found)
}

// ofGroup finds the snapshots of a group, and takes them if the backup has none yet.
func (c creation) ofGroup(ctx context.Context, g group) (found groupSnapshots, err error) {
	if found.taken, err = c.written(ctx); err != nil || found.taken[c.key] != "" {
		return found, err
	}
	members, absent, err := c.members(ctx, g)
	if err != nil {
		return found, err
	}
	found.absent = absent
	for _, m := range members {
		if found.taken[m.key] != "" {
			found.absent = append(found.absent, errTakenWithout)
			return found, nil
		}
	}
	if len(absent) > 0 && c.settings.Groups == GroupsRequire {
		return found, nil
	}
	return found, c.takeGroup(ctx, members, &found)
}

// takeGroup takes the snapshots of all members as one, or, unless that is required, side
// by side. A member without others needs no group.
func (c creation) takeGroup(ctx context.Context, members []creation, found *groupSnapshots) error {
	found.fresh = true
	if len(members) > 1 {
		one, err := c.tryAsOne(ctx, members)
		if err == nil {
			maps.Copy(found.taken, one)
			return nil
		}
		if c.settings.Groups == GroupsRequire {
			return fmt.Errorf("its snapshots are not taken as one, which groups: require demands: %w", err)
		}
	}
	found.failed = c.takeTogether(ctx, members, found.taken)
	return nil
}

// tryAsOne is takeAsOne, and logs its error.
func (c creation) tryAsOne(ctx context.Context, members []creation) (map[string]string, error) {
	one, err := c.takeAsOne(ctx, members)
	switch log := c.log.WithError(err); {
	case errors.Is(err, ErrNoGroups):
		log.Debug("the driver takes no groups")
	case err != nil:
		log.Warn("the driver has not taken the group as one")
	}
	return one, err
}

// members prepares the snapshots of all volumes of the group, c's own first. absent says
// which claims of the group are left out, and why. A claim that has no volume yet is none
// of the group.
func (c creation) members(ctx context.Context, g group) (members []creation, absent []error, err error) {
	claims, err := c.kube.Claims.In(g.namespace).List(ctx, g.selector())
	if err != nil {
		return nil, nil, err
	}
	claims = slices.DeleteFunc(claims, func(other *corev1.PersistentVolumeClaim) bool {
		return other.UID == c.claim.UID || other.Status.Phase != corev1.ClaimBound
	})
	prepared, errs := make([]creation, len(claims)), slices.Repeat([]error{errEnded}, len(claims))
	c.sideBySide(len(claims), func(i int) { prepared[i], errs[i] = c.member(ctx, g, claims[i]) })
	members = []creation{c}
	for i, err := range errs {
		if err != nil {
			err = fmt.Errorf("claim %s/%s: %w", g.namespace, claims[i].Name, err)
			c.log.WithError(err).Warn("a claim of the group is not snapshotted with the others")
			absent = append(absent, err)
			continue
		}
		members = append(members, prepared[i])
	}
	return members, absent, nil
}

// member prepares the snapshot of another claim's volume.
func (c creation) member(ctx context.Context, g group, claim *corev1.PersistentVolumeClaim) (creation, error) {
	pv, err := c.kube.PersistentVolumes.Get(ctx, claim.Spec.VolumeName)
	if err != nil {
		return creation{}, err
	}
	switch ref, reason := pv.Spec.ClaimRef, c.whyNot(pv); {
	case ref == nil || ref.UID != claim.UID:
		return creation{}, fmt.Errorf("PersistentVolume %s is not bound to it", pv.Name)
	case reason != "":
		return creation{}, fmt.Errorf("this location does not take PersistentVolume %s: %s", pv.Name, reason)
	case pv.Spec.CSI.Driver != c.id.Driver:
		return creation{}, fmt.Errorf("its driver is %s, not %s", pv.Spec.CSI.Driver, c.id.Driver)
	}
	m, err := c.prepareSnapshot(ctx, source{pv, claim}, c.call.Backup, c.backup, c.keys)
	if err != nil {
		return creation{}, err
	}
	m.key, m.log = m.groupKey(), m.log.WithField("group", g.String())
	return m, nil
}

// takeTogether takes the snapshots of all members at once, adds them to taken, and
// returns which failed. Velero tells of the other volumes later: their operations begin here.
func (c creation) takeTogether(ctx context.Context, members []creation, taken map[string]string) (failed map[string]error) {
	type result struct {
		id  string
		at  time.Time
		err error
	}
	results := slices.Repeat([]result{{err: errEnded}}, len(members))
	c.sideBySide(len(members), func(i int) {
		r, m := &results[i], members[i]
		if c.operation != "" {
			m.operation = c.begun.begin(c.call.Backup, m.id.PV)
		}
		r.id, r.at, r.err = m.take(ctx)
	})
	failed = map[string]error{}
	var times []time.Time
	for i, r := range results {
		if key := members[i].key; r.err == nil {
			taken[key], times = r.id, append(times, r.at)
		} else {
			failed[key] = fmt.Errorf("claim %s: %w", members[i].claimRef(), r.err)
		}
	}
	c.logTaken(len(members), times)
	return failed
}

func (c creation) logTaken(members int, times []time.Time) {
	log := c.log.WithField("members", members).WithField("failed", members-len(times))
	if len(times) > 1 {
		spread := slices.MaxFunc(times, time.Time.Compare).Sub(slices.MinFunc(times, time.Time.Compare))
		log.Infof("snapshots of %d volumes of the group were taken, within %d ms of each other by the driver's times", len(times), spread.Milliseconds())
	}
}

// errEnded is the error of work whose goroutine has ended by a panic, which the log has.
var errEnded = errors.New("the work on it has ended too early")

// sideBySide does the work of 0 to n-1 at once, and returns when all of it has ended.
func (s *Snapshotter) sideBySide(n int, work func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(contained(s.log, "a snapshot of a group", func() { work(i) }))
	}
	all.Wait()
}
