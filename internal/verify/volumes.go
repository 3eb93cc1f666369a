package verify

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

func (b *backup) snapshots(ctx context.Context) (string, error) {
	all, err := b.l.Snapshots(ctx, b.name)
	if err != nil {
		return "", err
	}
	var f findings
	seen := map[string]bool{}
	for i := range all {
		b.snapshot(&f, &all[i], seen)
	}
	if b.meta != nil {
		b.countSnapshots(&f, len(all))
	}
	b.done(backups.PartSnapshots)
	return f.end(check.Count(len(all), "snapshot"), mixed)
}

func (b *backup) snapshot(f *findings, s *backups.Snapshot, seen map[string]bool) {
	pv, id := s.Spec.PersistentVolume, s.Status.ID
	b.names(id)
	b.belongs(f, "the snapshot of volume "+pv, s.Spec.BackupName, s.Spec.BackupUID)
	if s.Status.Phase != backups.PhaseCompleted {
		b.lacks(f, "the snapshot of volume %s is %s", pv, s.Status.Phase)
		return
	}
	b.taken = append(b.taken, *s)
	if id == "" || seen[id] {
		f.fail("the snapshot of volume %s has no ID of its own", pv)
		return
	}
	seen[id] = true
	switch stored, ours, err := snapshotter.ReadID(id); {
	case err != nil:
		f.fail("the snapshot of volume %s: %v", pv, err)
	case ours && stored.PV != "" && stored.PV != pv:
		f.fail("the snapshot of volume %s is one of volume %s", pv, stored.PV)
	}
}

// names notes a snapshot that the backup names, by an ID of this plugin or by its
// handle.
func (b *backup) names(id string) {
	if stored, ours, err := snapshotter.ReadID(id); ours && err == nil {
		id = stored.Handle
	}
	b.handles = append(b.handles, id)
}

func (b *backup) countSnapshots(f *findings, all int) {
	s := &b.meta.Status
	if all != s.SnapshotsAttempted {
		f.fail("it has %s, the metadata count %d", check.Count(all, "snapshot"), s.SnapshotsAttempted)
	}
	if len(b.taken) != s.SnapshotsCompleted {
		f.fail("%s completed in it, the metadata count %d", check.Count(len(b.taken), "snapshot"), s.SnapshotsCompleted)
	}
}

// longestLabel is how long a label's value may be. Velero shortens names that are
// longer.
const longestLabel = 63

func (b *backup) podVolumes(ctx context.Context) (string, error) {
	all, err := b.l.PodVolumes(ctx, b.name)
	if err != nil {
		return "", err
	}
	var f findings
	for i := range all {
		p := &all[i]
		if of := p.Metadata.Labels["velero.io/backup-name"]; of != b.name && len(b.name) <= longestLabel {
			f.fail("%s is of backup %q", podVolume(p), of)
		}
		if p.Status.Phase != backups.PhaseCompleted {
			b.lacks(&f, "%s is %s", podVolume(p), p.Status.Phase)
		}
	}
	b.pods = all
	b.done(backups.PartPodVolumes)
	return f.end(check.Count(len(all), "volume"), mixed)
}

func podVolume(p *backups.PodVolume) string {
	return fmt.Sprintf("volume %s of pod %s/%s", p.Spec.Volume, p.Spec.Pod.Namespace, p.Spec.Pod.Name)
}

// done notes that a list was read, so that others can be compared with it.
func (b *backup) done(part backups.Part) { b.read[part] = true }

func (b *backup) volumes(ctx context.Context) (string, error) {
	all, err := b.l.Volumes(ctx, b.name)
	if err != nil {
		return "", err
	}
	var f findings
	by := map[string]int{}
	for i := range all {
		by[b.volume(&f, &all[i])]++
		if all[i].CSI != nil {
			b.names(all[i].CSI.Handle)
		}
		if all[i].CSI != nil && !all[i].DataMoved && all[i].CSI.Handle != "" {
			b.csi++
		}
		if all[i].DataMoved && all[i].Moved != nil && !all[i].Skipped {
			b.moved = append(b.moved, all[i])
		}
	}
	b.done(backups.PartVolumes)
	if b.read[backups.PartSnapshots] {
		b.compareSnapshots(&f, all)
	}
	if b.read[backups.PartPodVolumes] {
		b.comparePodVolumes(&f, all)
	}
	if empty := unsaved(all); len(f.bad) == 0 && len(empty) > 0 {
		return "", check.Warn(volumesInWords(by)+"; the data of these are not in the backup: "+few(empty, "; "),
			"a restore gives their claims new, empty volumes, or the original ones where their policy is Retain; "+
				"if the data matter, have the backup save them, else leave them out by a volume policy")
	}
	return f.end(volumesInWords(by), mixed)
}

// unsaved are the volumes without their data, except those that somebody left out: by a
// volume policy or a label (Velero, pkg/backup/item_backupper.go).
func unsaved(all []backups.Volume) (names []string) {
	for _, v := range all {
		chosen := strings.Contains(v.SkippedReason, "skipped due to resource policy") || strings.Contains(v.SkippedReason, "item has label velero.io/exclude-from-backup")
		if v.Skipped && !chosen {
			names = append(names, fmt.Sprintf("%s of claim %s (%s)", volumeName(&v), cmp.Or(v.Claim(), "unknown"), cmp.Or(v.SkippedReason, "no reason is told")))
		}
	}
	return names
}

// volume looks at what is said of one volume and returns how it was saved.
func (b *backup) volume(f *findings, v *backups.Volume) string {
	name := volumeName(v)
	switch {
	case v.Skipped:
		return skipped
	case v.Result == "failed":
		b.lacks(f, "%s could not be saved", name)
	case v.Method == backups.MethodNative && (v.Native == nil || v.Native.Handle == ""),
		v.Method == backups.MethodCSI && !v.DataMoved && (v.CSI == nil || v.CSI.Handle == ""),
		v.DataMoved && (v.Moved == nil || v.Moved.Handle == ""),
		v.Method == backups.MethodPodVolume && (v.PodVolume == nil || v.PodVolume.Handle == ""):
		b.lacks(f, "%s was saved by %s, and no snapshot of it is named", name, v.Method)
	}
	if v.DataMoved {
		return moved
	}
	return v.Method
}

// How a volume was saved, where Velero's method does not say it.
const (
	skipped = "skipped"
	moved   = "moved"
)

func volumeName(v *backups.Volume) string {
	switch {
	case v.Name != "":
		return "volume " + v.Name
	case v.Claim() != "":
		return "claim " + v.Claim()
	case v.PodVolume != nil:
		return fmt.Sprintf("volume %s of pod %s/%s", v.PodVolume.Volume, v.PodVolume.Namespace, v.PodVolume.Pod)
	}
	return "a volume without a name"
}

func volumesInWords(by map[string]int) string {
	var words []string
	for _, how := range []struct{ method, words string }{
		{backups.MethodNative, "by native snapshots"}, {backups.MethodCSI, "by CSI snapshots"}, {moved, "by a data mover"}, {backups.MethodPodVolume, "file by file"}, {skipped, "skipped"},
	} {
		if n := by[how.method]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, how.words))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// compareSnapshots wants both lists to have the same snapshots.
func (b *backup) compareSnapshots(f *findings, volumes []backups.Volume) {
	ids := map[string]string{}
	for i := range b.taken {
		ids[b.taken[i].Spec.PersistentVolume] = b.taken[i].Status.ID
	}
	for i := range volumes {
		v := &volumes[i]
		// Velero 1.14 writes no phase.
		if v.Method != backups.MethodNative || v.Native == nil || v.Native.Handle == "" || cmp.Or(v.Native.Phase, backups.PhaseCompleted) != backups.PhaseCompleted {
			continue
		}
		id, there := ids[v.Name]
		switch {
		case !there:
			f.fail("%s has a snapshot here, and none in %s", volumeName(v), backups.PartSnapshots.Object(b.name))
		case id != v.Native.Handle:
			f.fail("%s has another snapshot in %s", volumeName(v), backups.PartSnapshots.Object(b.name))
		}
		delete(ids, v.Name)
	}
	for pv := range ids {
		f.fail("volume %s has a snapshot in %s, and none here", pv, backups.PartSnapshots.Object(b.name))
	}
}

// comparePodVolumes wants what was saved file by file to be in the list of that.
// Velero leaves a volume out here whose claim it cannot find.
func (b *backup) comparePodVolumes(f *findings, volumes []backups.Volume) {
	ids := map[string]bool{}
	for i := range b.pods {
		ids[podVolume(&b.pods[i])+" "+b.pods[i].Status.SnapshotID] = true
	}
	for i := range volumes {
		p := volumes[i].PodVolume
		if p != nil && !ids[fmt.Sprintf("volume %s of pod %s/%s %s", p.Volume, p.Namespace, p.Pod, p.Handle)] {
			f.fail("%s is not in %s", volumeName(&volumes[i]), backups.PartPodVolumes.Object(b.name))
		}
	}
}
