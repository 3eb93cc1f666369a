package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Progress is how far the storage is with a snapshot that a backup has already.
type Progress struct {
	Done    bool
	Failure string // why the snapshot cannot be restored, "" if it can
	State   string // what is waited for, and what was last seen
	Since   time.Time
}

// operation is a snapshot that Velero follows, or a group of snapshots, with the contents
// that stand for it, the oldest first. The first has the handle that the backup was given.
// There is another one while an error is looked into, see renew.
type operation struct {
	*Snapshotter
	id       string
	contents []followedContent
}

// Progress says how far the operation is that Follow has begun. Where no content
// stands for it, nothing is left to wait for: the snapshot could be restored when it
// was returned, or was never asked for, or its content was removed, which is a failure. An
// error leaves open how far it is.
func (s *Snapshotter) Progress(ctx context.Context, id string) (Progress, error) {
	o, err := s.operation(ctx, id)
	if err != nil {
		return Progress{}, err
	}
	noted, err := o.noted(ctx)
	if err != nil {
		return Progress{}, err
	}
	words := ptr.Deref(noted, corev1.ConfigMap{}).Data
	if words[failureKey] != "" || len(o.contents) == 0 {
		return Progress{Done: true, Failure: cmp.Or(words[failureKey], words[unreadyKey])}, nil
	}
	return o.assess(ctx)
}

// operation finds the contents of an operation.
func (s *Snapshotter) operation(ctx context.Context, id string) (operation, error) {
	if err := uuid.Validate(id); err != nil {
		return operation{}, fmt.Errorf("operation %q: %w", ids.Short(id), err)
	}
	contents, err := s.followedContents(ctx, s.owner.Selector()+","+objects.LabelOperation+"="+id)
	if err != nil {
		return operation{}, fmt.Errorf("look for the snapshot of operation %s: %w", id, err)
	}
	slices.SortFunc(contents, func(a, b followedContent) int { return attemptOf(a) - attemptOf(b) })
	return operation{s, id, contents}, nil
}

// annotationAttempt counts the contents of an operation, from 1 for the second one.
// Their times of creation may be equal.
const annotationAttempt = "longshore.dev/attempt"

func attemptOf(content metav1.Object) int {
	attempt, _ := strconv.Atoi(content.GetAnnotations()[annotationAttempt]) // the first has none
	return attempt
}

// assess says how far the storage is by the contents.
func (o operation) assess(ctx context.Context) (Progress, error) {
	first, last := o.contents[0], o.contents[len(o.contents)-1]
	taken, now := first.status().Handle, last.status()
	state := Progress{
		Since: first.GetCreationTimestamp().Time,
		State: fmt.Sprintf("driver %s works on %s %s: %s", now.Driver, last.what(), ids.Short(taken), ids.Words(now.State)),
	}
	ready := func(c followedContent) bool {
		is := c.status()
		return is.Ready && !is.Asking && is.Handle == taken
	}
	isReady := slices.ContainsFunc(o.contents, ready)
	switch {
	case now.Handle != "" && now.Handle != taken:
		return o.fail(ctx, "driver %s took %s %s in the place of %s, later", now.Driver, last.what(), ids.Short(now.Handle), ids.Short(taken))
	case isReady && !first.isThere(ctx):
		return o.fail(ctx, "driver %s does not find %s %s any more", now.Driver, last.what(), ids.Short(taken))
	case isReady:
		state.Done = true
		return state, o.finish(ctx)
	case last.GetDeletionTimestamp() != nil:
		return o.fail(ctx, "%s was deleted by someone else before the %s could be restored", last.describe(), last.what())
	case now.Handle == "" && o.hasFailed(last):
		return o.fail(ctx, "driver %s has failed since it took the point in time: %s", now.Driver, ids.Words(now.Message))
	case now.Handle == "":
		return state, nil
	case len(o.contents) > 1: // the error has passed
		return state, o.forget(ctx, o.contents[:len(o.contents)-1])
	case drivererr.Final(now.Message):
		return state, o.renew(ctx, last)
	}
	return state, nil
}

// hasFailed tells whether the driver has answered a content that is new with errors
// alone, and with the last one for long enough: as long as one call may take where it
// may pass. AlreadyExists is the answer of a driver that holds the name of the content
// against it (csi-snapshotter with --extra-create-metadata), and says nothing.
func (o operation) hasFailed(last followedContent) bool {
	now, limit := last.status(), o.settings.ErrorGracePeriod
	if drivererr.MayPass(now.Message) {
		limit = o.settings.SnapshotTimeout
	}
	return drivererr.Final(now.Message) && drivererr.Code(now.Message) != "AlreadyExists" && o.failingFor(last) > limit
}

// failingFor is how long a content of renew has had its error. No times of different clocks
// are compared: the age of the content is by the plugin's clock, as its deadline is, and its
// age when it got the error by that of the API server.
func (o operation) failingFor(content followedContent) time.Duration {
	deadline, _ := objects.DeadlineOf(content) // what is of this plugin has one
	age := o.now().Sub(deadline.Add(-deadlineMargin))
	return age - content.status().Written
}

// renew asks for the snapshot by another content. csi-snapshotter keeps an error in the
// status until the snapshot is ready, also when the driver answers without one
// meanwhile; the status of a new content tells. It has the same VolumeSnapshot's UID,
// and so the same CSI name, by which the driver finds the snapshot it has.
func (o operation) renew(ctx context.Context, old followedContent) error {
	call := o.newCall(objects.PurposeOf(old), 0) // failingFor goes by its deadline
	meta := metav1.ObjectMeta{Name: call.Name(), Labels: maps.Clone(old.GetLabels()), Annotations: maps.Clone(old.GetAnnotations())}
	meta.Annotations[annotationAttempt] = strconv.Itoa(attemptOf(old) + 1)
	meta.Annotations[objects.AnnotationDeadline] = objects.FormatTime(call.Deadline)
	delete(meta.Annotations, objects.AnnotationBeingCreated)
	delete(meta.Annotations, objects.AnnotationGroupBeingCreated)
	return old.again(ctx, meta)
}

// forget removes contents, and leaves the snapshot in the storage.
func (o operation) forget(ctx context.Context, contents []followedContent) error {
	for _, content := range contents {
		if content.GetDeletionTimestamp() != nil {
			continue
		}
		if err := content.keep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fail writes down why the operation has failed, so that Velero is told again if it dies
// now, and ends it.
func (o operation) fail(ctx context.Context, format string, words ...any) (Progress, error) {
	failure := fmt.Sprintf(format, words...)
	if err := o.record(ctx, failure); err != nil {
		return Progress{}, err
	}
	if err := o.giveUp(ctx); err != nil {
		o.log.WithError(err).WithField("operation", o.id).Warn("the contents of a snapshot that has failed stay until a sweep")
	}
	return Progress{Done: true, Failure: failure}, nil
}

// giveUp removes the contents. The snapshot that the backup was given stays until the
// backup is deleted: the storage may finish it although the driver answers with errors,
// as some do when the volume is gone. One that was taken in its place goes.
func (o operation) giveUp(ctx context.Context) (err error) {
	taken := o.contents[0].status().Handle
	for _, content := range slices.Backward(o.contents) {
		if handle := content.status().Handle; handle != "" && handle != taken {
			err = errors.Join(err, content.askDeletion(ctx))
		} else {
			err = errors.Join(err, o.forget(ctx, []followedContent{content}))
		}
	}
	return err
}

// remove has csi-snapshotter delete the snapshot with all its contents. The newest goes
// first: the driver could be asked by it for what another deletes.
func (o operation) remove(ctx context.Context) (err error) {
	for _, content := range slices.Backward(o.contents) {
		err = errors.Join(err, content.askDeletion(ctx))
	}
	return err
}

// removeFollowed deletes the snapshot of an operation. A content that never had a
// handle goes by itself, maybe later: csi-snapshotter looks at it less and less often.
func (s *Snapshotter) removeFollowed(ctx context.Context, id string) error {
	o, err := s.operation(ctx, id)
	if err == nil {
		err = o.remove(ctx)
	}
	for _, content := range o.contents {
		if err == nil && content.status().Handle != "" {
			err = content.untilGone(ctx)
		}
	}
	if err == nil {
		err = o.forgetNoted(ctx)
	}
	return err
}

// Cancel ends an operation that has failed for Velero, since it lasted too long. The
// storage may still finish the snapshot, which the backup has: it stays.
func (s *Snapshotter) Cancel(ctx context.Context, id string) error {
	o, err := s.operation(ctx, id)
	if err != nil || len(o.contents) == 0 {
		return err
	}
	last := o.contents[len(o.contents)-1]
	err = o.record(ctx, "the storage did not finish the snapshot in the time that the backup gives: "+ids.Words(last.status().State))
	if err != nil {
		return err
	}
	return o.forget(ctx, o.contents)
}

// Keys of the ConfigMap of an operation. It is made before the content is left to the
// storage, and goes when the snapshot is ready.
const (
	failureKey = "failure" // why the snapshot cannot be restored
	unreadyKey = "unready" // why not, if its content is gone
)

// contentGone is what is told of a snapshot whose content somebody has removed too early.
const contentGone = "the VolumeSnapshotContent that stood for it was removed by someone else before the storage had finished"

// record writes a failure down, for as long as Velero may ask.
func (o operation) record(ctx context.Context, failure string) error {
	return o.noteOperation(ctx, o.id, o.contents[0].GetAnnotations()[objects.AnnotationBackup], failureKey, failure)
}

// noteOperation writes words about an operation under a key that has none yet.
func (s *Snapshotter) noteOperation(ctx context.Context, id, backup, key, words string) error {
	call := s.newCall(objects.Failure, s.settings.SnapshotTimeout)
	call.UID, call.Backup = types.UID(id), backup
	wanted := &corev1.ConfigMap{ObjectMeta: call.Meta(s.owner.Velero), Data: map[string]string{key: words}}
	wanted.Labels[objects.LabelOperation] = id
	delete(wanted.Labels, objects.LabelLocation) // with a credential in the location, Velero's calls have two configs
	configs := s.kube.ConfigMaps.In(s.owner.Velero)
	made, err := configs.Create(ctx, wanted)
	if err == nil {
		_, err = configs.Edit(ctx, made, func(now *corev1.ConfigMap) (kube.Patch, error) {
			if now.Data[key] != "" {
				return nil, nil
			}
			return kube.Patch{"data": map[string]string{key: words}}, nil
		})
	}
	if err != nil {
		return fmt.Errorf("write down why the snapshot of operation %s cannot be restored (%s): %w", id, words, err)
	}
	return nil
}

// noted is the ConfigMap of the operation, nil if there is none.
func (o operation) noted(ctx context.Context) (*corev1.ConfigMap, error) {
	return o.kube.ConfigMaps.In(o.owner.Velero).Find(ctx, objects.Call{Purpose: objects.Failure, UID: types.UID(o.id)}.Name())
}

func (o operation) forgetNoted(ctx context.Context) error {
	noted, err := o.noted(ctx)
	if err == nil && noted != nil {
		_, err = o.kube.ConfigMaps.In(o.owner.Velero).Delete(ctx, noted, nil)
	}
	return err
}

// finish removes all that stands for a snapshot that is ready.
func (o operation) finish(ctx context.Context) error {
	if err := o.forgetNoted(ctx); err != nil {
		return err
	}
	return o.forget(ctx, o.contents)
}
