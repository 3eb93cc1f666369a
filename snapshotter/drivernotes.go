package snapshotter

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// DriverNote says whether the snapshots of a driver could be restored as soon as the
// storage had named them. Of a driver without a snapshot there is no note.
type DriverNote struct {
	AtOnce bool
	// At is since when they all could, or when one last could not.
	At time.Time
}

// driverNotesName is the name of the ConfigMap with the notes, for all locations of a
// Velero. Its keys are the names of the drivers.
const driverNotesName = "longshore-drivers"

// lateFor is how long a driver counts as late after a snapshot that could not be restored
// at once. One driver may have snapshots of both kinds, by their class.
const lateFor = 30 * 24 * time.Hour

// The words of notes, each before a time.
const (
	noteAtOnce = "at-once"
	noteLate   = "late"
)

func (n DriverNote) text() string {
	if n.AtOnce {
		return noteAtOnce + " " + objects.FormatTime(n.At)
	}
	return noteLate + " " + objects.FormatTime(n.At)
}

// parseDriverNote takes what it cannot read for no note.
func parseDriverNote(text string) (n DriverNote) {
	what, when, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339, when)
	if err != nil || what != noteAtOnce && what != noteLate {
		return DriverNote{}
	}
	return DriverNote{AtOnce: what == noteAtOnce, At: at}
}

// after is the note when another snapshot could be restored at once, or could not.
func (n DriverNote) after(couldAtOnce bool, now time.Time) DriverNote {
	age := now.Sub(n.At)
	switch {
	case couldAtOnce && (n.AtOnce || age < lateFor):
		return n
	case !couldAtOnce && !n.AtOnce && age < 24*time.Hour: // not written for each snapshot
		return n
	}
	return DriverNote{AtOnce: couldAtOnce, At: now}
}

// DriverNotes returns what is noted of drivers in the cluster, by their names.
func (s *Snapshotter) DriverNotes(ctx context.Context) (map[string]DriverNote, error) {
	stored, err := s.storedDriverNotes(ctx)
	if err != nil || stored == nil {
		return nil, err
	}
	notes := map[string]DriverNote{}
	for driver, text := range stored.Data {
		notes[driver] = parseDriverNote(text)
	}
	return notes, nil
}

func (s *Snapshotter) storedDriverNotes(ctx context.Context) (*corev1.ConfigMap, error) {
	found, err := s.kube.ConfigMaps.In(s.owner.Velero).Find(ctx, driverNotesName)
	if found != nil && found.Labels[objects.LabelPurpose] != string(objects.Drivers) {
		return nil, fmt.Errorf("ConfigMap %s/%s is not of this plugin's making", s.owner.Velero, driverNotesName)
	}
	return found, err
}

// waitsFor tells whether a backup waits until the snapshots of a driver can be restored.
// What the process itself has noted is of the same backup, whose next snapshot may take
// longer.
func (s *Snapshotter) waitsFor(ctx context.Context, driver string) bool {
	if s.settings.WaitFor != WaitForAuto {
		return s.settings.WaitFor == WaitForReady
	}
	note, err := s.driverNote(ctx, driver)
	if err != nil {
		s.log.WithError(err).Info("what is noted of the driver cannot be read; the backup waits for its snapshots")
	}
	return !note.AtOnce || s.begun.began.Before(note.At)
}

// driverNote returns what is noted of a driver, once read from the cluster by a process.
func (s *Snapshotter) driverNote(ctx context.Context, driver string) (DriverNote, error) {
	if s.begun != nil {
		if known, ok := s.begun.notes.Load(driver); ok {
			return known.(DriverNote), nil
		}
	}
	notes, err := s.DriverNotes(ctx)
	if err == nil {
		s.keepDriverNote(driver, notes[driver])
	}
	return notes[driver], err
}

func (s *Snapshotter) keepDriverNote(driver string, note DriverNote) {
	if s.begun != nil {
		s.begun.notes.Store(driver, note)
	}
}

// noteDriver notes, for waitFor: auto, whether the snapshot could be restored when the
// storage had named it.
func (c creation) noteDriver(ctx context.Context, couldAtOnce bool) {
	if c.settings.WaitFor != WaitForAuto {
		return
	}
	before, err := c.driverNote(ctx, c.id.Driver)
	after := before.after(couldAtOnce, c.now())
	if err == nil && after != before {
		err = c.writeDriverNote(ctx, couldAtOnce)
	}
	if err != nil {
		c.log.WithError(err).Info("whether the driver's snapshots can be restored at once is not noted")
	}
}

func (c creation) writeDriverNote(ctx context.Context, couldAtOnce bool) error {
	stored, err := c.storedDriverNotes(ctx)
	if err == nil && stored == nil {
		stored, err = c.kube.ConfigMaps.In(c.owner.Velero).Create(ctx, c.newDriverNotes())
	}
	if err != nil {
		return err
	}
	var note DriverNote
	_, err = c.kube.ConfigMaps.In(c.owner.Velero).Edit(ctx, stored, func(now *corev1.ConfigMap) (kube.Patch, error) {
		before := parseDriverNote(now.Data[c.id.Driver])
		if note = before.after(couldAtOnce, c.now()); note == before {
			return nil, nil
		}
		return kube.Patch{"data": map[string]any{c.id.Driver: note.text()}}, nil
	})
	if err == nil {
		c.keepDriverNote(c.id.Driver, note)
		c.log.WithField("note", note.text()).Info("noted whether the driver's snapshots can be restored at once")
	}
	return err
}

// newDriverNotes has no name of a call: no sweep removes it.
func (c creation) newDriverNotes() *corev1.ConfigMap {
	call := c.newCall(objects.Drivers, 0)
	meta := call.Meta(c.owner.Velero)
	meta.Name = driverNotesName
	delete(meta.Labels, objects.LabelLocation)
	delete(meta.Annotations, objects.AnnotationDeadline)
	return &corev1.ConfigMap{ObjectMeta: meta}
}
