package verify

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// atOnce is how many snapshots the drivers are asked for at once.
const atOnce = 8

// answer is what a driver says of a snapshot; nil for both if there is none.
type answer struct {
	status *snapshotv1.VolumeSnapshotContentStatus
	err    error
}

// stored wants the storage to have each snapshot, ready and of the size that its ID
// says, by what the driver says.
func (b *backup) stored(ctx context.Context, c *Cluster) (string, error) {
	ours, others := b.ours()
	if len(ours)+others == 0 {
		return "", check.Skip("there is no snapshot")
	}
	var f asked
	doubts := map[string]int{}
	for i, a := range c.ask(ctx, ours) {
		f.compare(ours[i], a)
		if a.err != nil {
			continue
		}
		if doubt := c.doubt(ctx, ours[i]); doubt != "" {
			doubts[doubt]++
		}
	}
	for _, doubt := range slices.Sorted(maps.Keys(doubts)) {
		f.warn("whether %s in the storage cannot be told: %s", count(doubts[doubt], "snapshot", "is", "are"), doubt)
	}
	if others > 0 {
		f.warn("%s not this plugin's, and cannot be asked for", count(others, "snapshot", "is", "are"))
	}
	detail := count(len(ours), "snapshot", "is", "are") + " there, ready, of the right size"
	if f.unsized > 0 {
		detail += fmt.Sprintf("; of %d the driver does not say the size", f.unsized)
	}
	detail, err := f.end(detail, f.hint())
	if f.lost {
		err = b.unlessDeleted(ctx, err)
	}
	return detail, err
}

// asked are the findings about snapshots that were asked for.
type asked struct {
	findings
	lost, unasked bool // some are
	unsized       int  // of how many the driver does not say the size
}

// compare compares what the driver says with the ID.
func (f *asked) compare(s snapshot, a answer) {
	id, _, _ := snapshotter.ReadID(s.id)
	failed, size := len(f.bad), int64(0)
	if a.status != nil {
		size = ptr.Deref(a.status.RestoreSize, 0)
	}
	switch {
	case a.err != nil:
		f.unasked = true
		f.fail("the snapshot of volume %s could not be asked for: %v", s.pv, a.err)
		return
	case a.status == nil:
		f.fail("the snapshot of volume %s is not in the storage any more", s.pv)
	case !ptr.Deref(a.status.ReadyToUse, false):
		f.fail("the snapshot of volume %s is not ready to be restored", s.pv)
	case size > id.Size:
		f.fail("the snapshot of volume %s has %s in the storage, and %s by its ID: it is another one", s.pv, backups.FormatSize(size), backups.FormatSize(id.Size))
	case size == 0:
		f.unsized++
	case size < id.Size:
		f.warn("the snapshot of volume %s has %s in the storage, and %s by its ID", s.pv, backups.FormatSize(size), backups.FormatSize(id.Size))
	}
	f.lost = f.lost || len(f.bad) > failed
}

func (f *asked) hint() string {
	var hints []string
	if f.lost {
		hints = append(hints, "a volume whose snapshot is gone cannot be restored: look who deletes snapshots in the storage, such as its retention rules, and make a new backup; "+
			"one that is not ready may still be copied: verify again later")
	}
	if f.unasked {
		hints = append(hints, "asking takes the rights of Velero's own account (velero-plugin-longshore print rbac) and the driver's csi-snapshotter; --no-cluster leaves it out")
	}
	if len(hints) == 0 {
		hints = append(hints, "what the storage does not tell, --restore-volumes shows, and a restore of the backup into a namespace of its own")
	}
	return strings.Join(hints, "\n")
}

// ask asks the drivers for all snapshots.
func (c *Cluster) ask(ctx context.Context, all []snapshot) []answer {
	answers := make([]answer, len(all))
	var running errgroup.Group
	running.SetLimit(atOnce)
	for i, s := range all {
		l, err := c.location(ctx, s.Spec.Location)
		if err != nil {
			answers[i].err = err
			continue
		}
		running.Go(func() error {
			answers[i].status, answers[i].err = l.patient.FindSnapshot(ctx, s.id, "")
			return nil
		})
	}
	_ = running.Wait() // each answer has its own error
	return answers
}

// doubt says why the driver of a snapshot cannot tell whether it is there, "" if it
// can. The drivers that cannot are found by a control question: they find a
// snapshot too that nobody has taken.
func (c *Cluster) doubt(ctx context.Context, s snapshot) string {
	l, err := c.location(ctx, s.Spec.Location)
	if err != nil {
		return err.Error()
	}
	id, _, _ := snapshotter.ReadID(s.id)
	doubt, known := l.doubts[id.Driver]
	if !known {
		doubt = l.control(ctx, s.id, id.Driver, nowhere(id.Handle))
		l.doubts[id.Driver] = doubt
	}
	return doubt
}

func (l *location) control(ctx context.Context, snapshotID, driver, handle string) string {
	status, err := l.brief.FindSnapshot(ctx, snapshotID, handle)
	switch {
	case err != nil && strings.Contains(err.Error(), "code = InvalidArgument"):
		return "" // it was asked, and takes the handle for none of its own
	case err != nil:
		return fmt.Sprintf("driver %s does not say that one which nobody has taken is missing: %v", driver, err)
	case status != nil:
		return fmt.Sprintf("driver %s does not list snapshots, so that csi-snapshotter finds every one, also one which nobody has taken", driver)
	}
	return ""
}

// nowhere is a handle that no snapshot has. It looks like the given one, so that the
// driver takes it for one of its own: the number or UUID at its end is another one.
func nowhere(handle string) string {
	const enough, most = 8, 12
	random := make([]byte, most)
	_, _ = rand.Read(random) // it never fails
	changed, n := []byte(handle), 0
	for i := len(changed) - 1; i >= 0 && n < most && strings.ContainsRune(hexadecimal, rune(changed[i])); i-- {
		if changed[i] != '-' {
			changed[i] = alike(changed[i], random[n])
			n++
		}
	}
	if n < enough || string(changed) == handle {
		return fmt.Sprintf("%s-%x", handle, random)
	}
	return string(changed)
}

const hexadecimal = "0123456789abcdefABCDEF-"

// alike is a hexadecimal digit that is as c: decimal, or a small or large letter.
func alike(c, random byte) byte {
	switch {
	case c >= 'a':
		return 'a' + random%6
	case c >= 'A':
		return 'A' + random%6
	}
	return '0' + random%10
}
