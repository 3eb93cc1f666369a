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

// Values of the setting groups.
const (
	groupsAuto    = "auto"
	groupsRequire = "require"
	groupsOff     = "off"
)

// group are the claims of a namespace that bear the group label with one value.
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
	if c.claim == nil || c.settings.Groups == groupsOff {
		return group{}, false
	}
	label := cmp.Or(c.backup.Spec.VolumeGroupSnapshotLabelKey, veleroGroup)
	value := c.claim.Labels[label]
	return group{c.claim.Namespace, label, value}, value != ""
}

// groupSnapshots is what a call for one volume of a group finds or takes.
type groupSnapshots struct {
	taken  map[string]string // IDs by the key of the volume in the journal
	failed map[string]error  // of the same keys, where this call has tried and failed
	absent []error           // why other claims of the group have no snapshot
}

// groupCalls has calls for one group that come at the same time share their work.
var groupCalls singleflight.Group

// takeInGroup returns the snapshot of a volume that belongs to a group. The first call
// of a backup for one of the group's volumes takes the snapshots of all of them side by
// side, so that an application that is frozen is frozen for the shortest time. Later
// calls of the backup find theirs in the journal. What is never asked for is in no
// stored list, and removed by a sweep when the backup is over.
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
	if absent := found.problems(); absent != nil && c.settings.Groups == groupsRequire {
		return "", fmt.Errorf("group %s is not taken as one, which groups: require demands: %w", g, absent)
	}
	switch id, err := found.taken[c.key], found.failed[c.key]; {
	case id != "":
		return id, c.requireOwn(id)
	case err != nil:
		return "", err
	}
	return c.takeAlone(ctx, g, errors.New("the snapshots of its group were taken without it"))
}

// takeAlone takes the snapshot of a volume without the others of its group.
func (c creation) takeAlone(ctx context.Context, g group, why error) (string, error) {
	if c.settings.Groups == groupsRequire {
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
// to write there.
func (c creation) requireOwn(id string) error {
	found, err := c.keys.Parse(id, c.settings.RequireSignature)
	if err == nil && (found.Driver != c.id.Driver || found.PV != c.id.PV) {
		err = fmt.Errorf("it is of PersistentVolume %q of driver %s", found.PV, found.Driver)
	}
	if err != nil {
		return fmt.Errorf("the journal has another snapshot for the volume: %w", err)
	}
	return nil
}

// ofGroup finds the snapshots of a group, and takes them if the backup has none yet.
func (c creation) ofGroup(ctx context.Context, g group) (found groupSnapshots, err error) {
	if found.taken, err = c.written(ctx); err != nil {
		return found, err
	}
	if found.taken[c.key] != "" && c.settings.Groups != groupsRequire {
		return found, nil
	}
	members, absent, err := c.members(ctx, g)
	if err != nil {
		return found, err
	}
	found.absent = absent
	if !slices.ContainsFunc(members, func(m creation) bool { return found.taken[m.key] != "" }) {
		found.failed = c.takeTogether(ctx, members, found.taken)
		return found, nil
	}
	for _, m := range members {
		if found.taken[m.key] == "" {
			found.absent = append(found.absent, fmt.Errorf("claim %s: its snapshot was not taken with the others", m.claimRef()))
		}
	}
	return found, nil
}

// written are the IDs in the journal of the backup, by their keys.
func (c creation) written(ctx context.Context) (map[string]string, error) {
	pages, err := c.journal().Pages(ctx)
	all := map[string]string{}
	for _, page := range pages {
		if page.UID == c.backup.UID {
			maps.Copy(all, page.IDs)
		}
	}
	return all, err
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
	if c.operation != "" { // Velero tells of the other volume later
		m.operation = c.begun.begin(c.call.Backup, pv.Name)
	}
	m.key, m.log = m.groupKey(), m.log.WithField("group", g.String())
	return m, nil
}

// takeTogether takes the snapshots of all members at once, adds them to taken, and
// returns which failed.
func (c creation) takeTogether(ctx context.Context, members []creation, taken map[string]string) (failed map[string]error) {
	type result struct {
		id  string
		at  time.Time
		err error
	}
	results := slices.Repeat([]result{{err: errEnded}}, len(members))
	c.sideBySide(len(members), func(i int) {
		r := &results[i]
		r.id, r.at, r.err = members[i].take(ctx)
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

// problems is an error that says why claims of the group have no snapshot, nil if all
// have one.
func (g groupSnapshots) problems() error {
	return errors.Join(append(slices.Collect(maps.Values(g.failed)), g.absent...)...)
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
