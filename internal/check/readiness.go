package check

import (
	"context"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// readiness tells which snapshots a backup waits for, and why.
func (v *volumeSnapshotter) readiness(ctx context.Context) (string, error) {
	switch v.s.Settings().WaitFor {
	case snapshotter.WaitForHandle:
		return "no backup waits until the storage has finished a snapshot (waitFor: handle)", nil
	case snapshotter.WaitForReady:
		return "every backup waits until the storage has finished its snapshots (waitFor: ready)", nil
	}
	notes, err := v.s.DriverNotes(ctx)
	if err != nil {
		return "", err
	}
	var all []string
	for _, driver := range v.drivers {
		all = append(all, driver+": "+inWords(notes[driver]))
	}
	return strings.Join(all, "; "), nil
}

func inWords(note snapshotter.DriverNote) string {
	switch day := note.At.Format(time.DateOnly); {
	case note.At.IsZero():
		return "no snapshot has been seen yet, so a backup waits until it can be restored"
	case note.AtOnce:
		return "snapshots can be restored at once, as seen since " + day
	default:
		return "a backup waits until its snapshots can be restored, since one took longer on " + day
	}
}
