// Package rewrap encrypts the stored objects of backups again, to the present public
// keys of their location, or decrypts them.
//
// It touches only what is in the folders of backups and restores: the objects that
// Velero writes, and, to encrypt it again, what else is encrypted there. The
// repositories of kopia and restic are in folders of their own and are not even listed.
//
// Each object is a step of its own: what is already as it is wanted is skipped, so
// whoever was interrupted begins again.
package rewrap

import (
	"context"
	"slices"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// Store is what is asked of an object store.
type Store interface {
	// Rewrap encrypts one object again or decrypts it. An error says what went wrong;
	// it does not say that the object is unchanged.
	Rewrap(ctx context.Context, bucket, key string, o objectstore.RewrapOptions) (objectstore.Rewrapped, error)
}

// Observer is told what is going on.
type Observer interface {
	// Begin is called before an object is looked at: it is that one of so many.
	Begin(key string, number, of int)
	// End is called after it.
	End(o Object)
}

// Outcome is what became of an object.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "rewrapped"
	Wanted  Outcome = "wanted" // in a dry run: it would be rewrapped
	Present Outcome = "upToDate"
	Plain   Outcome = "leftPlain"
	Foreign Outcome = "leftForeign" // Velero did not write it
	Failed  Outcome = "failed"
)

// Object is one that was looked at.
type Object struct {
	Key     string            `json:"key"`
	Was     objectstore.State `json:"was,omitempty"`
	Size    int64             `json:"size"` // as it was stored, in bytes
	Outcome Outcome           `json:"outcome"`
	Error   string            `json:"error,omitempty"`
}

// Sum is what became of all objects.
type Sum struct {
	Outcomes map[Outcome]int `json:"outcomes"`
	// NotReached is how many were not looked at.
	NotReached int `json:"notReached"`
}

// OK tells whether all was looked at, and nothing failed.
func (s Sum) OK() bool { return s.NotReached == 0 && s.Outcomes[Failed] == 0 }

// Backups returns what is stored of these backups. One that is not there is an error.
func Backups(ctx context.Context, l *backups.Location, names []string) ([]backups.Stored, error) {
	var all []backups.Stored
	for _, name := range names {
		found, err := l.BackupFolder(ctx, name)
		if err == nil && len(found) == 0 {
			err = l.Find(ctx, name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// All returns what is stored of all backups and restores of the location.
func All(ctx context.Context, l *backups.Location) ([]backups.Stored, error) {
	names, err := l.Names(ctx)
	if err != nil {
		return nil, err
	}
	all, err := Backups(ctx, l, names)
	if err != nil {
		return nil, err
	}
	restores, err := l.Restores(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range restores {
		found, err := l.RestoreFolder(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Run rewraps the objects one after the other. When ctx ends, the one that is being
// worked at is finished first. An error that is about one object does not keep the
// others from being looked at; any other ends the run, for it would come again.
func Run(ctx context.Context, store Store, bucket string, objects []backups.Stored, o objectstore.RewrapOptions, observer Observer) Sum {
	sum := Sum{Outcomes: map[Outcome]int{}, NotReached: len(objects)}
	for i, stored := range objects {
		if ctx.Err() != nil {
			return sum
		}
		observer.Begin(stored.Key, i+1, len(objects))
		object, err := one(context.WithoutCancel(ctx), store, bucket, stored, o)
		observer.End(object)
		sum.Outcomes[object.Outcome]++
		sum.NotReached--
		if err != nil && !ofOneObject(err) {
			return sum
		}
	}
	return sum
}

// one rewraps one object. What Velero did not write is neither encrypted that is not
// yet, nor decrypted.
func one(ctx context.Context, store Store, bucket string, stored backups.Stored, o objectstore.RewrapOptions) (Object, error) {
	o.SealPlain = o.SealPlain && stored.Known
	o.DryRun = o.DryRun || (o.ToPlain && !stored.Known)
	r, err := store.Rewrap(ctx, bucket, stored.Key, o)
	object := Object{Key: stored.Key, Was: r.Was, Size: r.Size}
	switch {
	case err != nil:
		object.Outcome, object.Error = Failed, err.Error()
	case r.Done:
		object.Outcome = Done
	case r.Wanted && (stored.Known || !o.ToPlain):
		object.Outcome = Wanted
	case r.Was == objectstore.StatePresent && !o.ToPlain, r.Was == objectstore.StatePlain && o.ToPlain:
		object.Outcome = Present
	case stored.Known:
		object.Outcome = Plain
	default:
		object.Outcome = Foreign
	}
	return object, err
}

// ofOneObject tells whether an error says something of no other object.
func ofOneObject(err error) bool {
	return slices.Contains([]objectstore.Kind{
		objectstore.KindNotDecrypted, objectstore.KindCorrupt, objectstore.KindChanged,
		objectstore.KindNotFound, objectstore.KindArchived, objectstore.KindLocked,
	}, objectstore.KindOf(err))
}
