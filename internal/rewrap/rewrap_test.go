package rewrap

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// told is an observer that remembers, and perhaps ends the run.
type told struct {
	begun  []string
	ended  []Object
	cancel func()
	after  int
}

func (t *told) Begin(key string, number, of int) {
	t.begun = append(t.begun, key)
	if len(t.begun) != number || number > of {
		panic("the number is wrong")
	}
	if number == t.after {
		t.cancel()
	}
}

func (t *told) End(o Object) { t.ended = append(t.ended, o) }

// answers is a store that gives these answers by key.
type answers map[string]answer

type answer struct {
	objectstore.Rewrapped
	err error
}

// Rewrap implements Store. A plain object is rewritten where that is asked for, and an
// encrypted one decrypted.
func (a answers) Rewrap(ctx context.Context, _, key string, o objectstore.RewrapOptions) (objectstore.Rewrapped, error) {
	if ctx.Err() != nil {
		return objectstore.Rewrapped{}, ctx.Err()
	}
	found := a[key]
	if found.Was == objectstore.StatePlain && o.SealPlain {
		found.Wanted, found.Done = true, !o.DryRun
	}
	if o.ToPlain {
		found.Wanted = found.Was != objectstore.StatePlain
		found.Done = found.Wanted && !o.DryRun
	}
	return found.Rewrapped, found.err
}

func stored(keys ...string) []backups.Stored {
	var all []backups.Stored
	for _, key := range keys {
		all = append(all, backups.Stored{Key: key, Known: !strings.Contains(key, "foreign")})
	}
	return all
}

func TestRun(t *testing.T) {
	store := answers{
		"former":         {Rewrapped: objectstore.Rewrapped{Was: objectstore.StateFormer, Wanted: true, Done: true}},
		"foreign former": {Rewrapped: objectstore.Rewrapped{Was: objectstore.StateFormer, Wanted: true, Done: true}},
		"present":        {Rewrapped: objectstore.Rewrapped{Was: objectstore.StatePresent}},
		"plain":          {Rewrapped: objectstore.Rewrapped{Was: objectstore.StatePlain}},
		"foreign plain":  {Rewrapped: objectstore.Rewrapped{Was: objectstore.StatePlain}},
	}
	keys := stored("foreign former", "foreign plain", "former", "plain", "present")
	for name, c := range map[string]struct {
		options objectstore.RewrapOptions
		want    []Outcome
	}{
		"as it is":         {objectstore.RewrapOptions{}, []Outcome{Done, Foreign, Done, Plain, Present}},
		"seal plain":       {objectstore.RewrapOptions{SealPlain: true}, []Outcome{Done, Foreign, Done, Done, Present}},
		"to plain":         {objectstore.RewrapOptions{ToPlain: true}, []Outcome{Foreign, Present, Done, Present, Done}},
		"to plain, only":   {objectstore.RewrapOptions{ToPlain: true, DryRun: true}, []Outcome{Foreign, Present, Wanted, Present, Wanted}},
		"seal plain, only": {objectstore.RewrapOptions{SealPlain: true, DryRun: true}, []Outcome{Done, Foreign, Done, Wanted, Present}},
	} {
		var seen told
		sum := Run(t.Context(), store, "bucket", keys, c.options, &seen)
		require.True(t, sum.OK(), name)
		var got []Outcome
		for _, o := range seen.ended {
			got = append(got, o.Outcome)
		}
		require.Equal(t, c.want, got, name)
	}
}

// TestRunEnds: an error of one object is told of, and the others are rewrapped; an
// error that would come again ends the run.
func TestRunEnds(t *testing.T) {
	done := answer{Rewrapped: objectstore.Rewrapped{Was: objectstore.StateFormer, Wanted: true, Done: true}}
	for name, c := range map[string]struct {
		err    error
		counts map[Outcome]int
		left   int
	}{
		"an error of the whole": {errors.New("the storage is gone"), map[Outcome]int{Done: 1, Failed: 1}, 1},
		"no error":              {nil, map[Outcome]int{Done: 3}, 0},
	} {
		store := answers{"a": done, "b": {done.Rewrapped, c.err}, "c": done}
		var seen told
		sum := Run(t.Context(), store, "bucket", stored("a", "b", "c"), objectstore.RewrapOptions{}, &seen)
		require.Equal(t, Sum{Outcomes: c.counts, NotReached: c.left}, sum, name)
		require.Equal(t, c.err == nil, sum.OK(), name)
	}
}

// TestRunInterrupted finishes the object that it works at.
func TestRunInterrupted(t *testing.T) {
	done := answer{Rewrapped: objectstore.Rewrapped{Was: objectstore.StateFormer, Wanted: true, Done: true}}
	ctx, cancel := context.WithCancel(t.Context())
	seen := told{cancel: cancel, after: 2}
	sum := Run(ctx, answers{"a": done, "b": done, "c": done, "d": done}, "bucket", stored("a", "b", "c", "d"), objectstore.RewrapOptions{}, &seen)
	require.Equal(t, Sum{Outcomes: map[Outcome]int{Done: 2}, NotReached: 2}, sum)
	require.False(t, sum.OK())
}

// folders are keys, listed as a storage does.
type folders []string

func (f folders) GetObject(context.Context, string, string) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

func (f folders) ListObjects(_ context.Context, _, prefix string) ([]string, error) {
	keys := slices.DeleteFunc(slices.Clone(f), func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Reverse(keys)
	return keys, nil
}

func (f folders) ListCommonPrefixes(_ context.Context, _, prefix, _ string) ([]string, error) {
	var all []string
	for _, key := range f {
		if rest, under := strings.CutPrefix(key, prefix); under && strings.Contains(rest, "/") {
			all = append(all, prefix+rest[:strings.Index(rest, "/")+1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// TestWhatIsTouched: the objects of backups and restores, and nothing else.
func TestWhatIsTouched(t *testing.T) {
	known := []string{
		"p/backups/a/a.tar.gz", "p/backups/a/a-logs.gz", "p/backups/a/velero-backup.json", "p/backups/a/a-volumeinfo.json.gz",
		"p/backups/a/a-csi-volumesnapshots.json.gz", "p/backups/ab/ab-resource-list.json.gz",
		"p/restores/r/restore-r-logs.gz", "p/restores/r/restore-r-results.gz", "p/restores/r/restore-r-resource-list.json.gz",
		"p/restores/r/restore-r-itemoperations.json.gz", "p/restores/r/r-volumeinfo.json.gz",
	}
	foreign := []string{
		"p/backups/a/notes.txt", "p/backups/a/b.tar.gz", "p/backups/a/deep/velero-backup.json", "p/backups/a/", "p/backups/ab/a-logs.gz", "p/restores/r/r-logs.gz",
	}
	elsewhere := []string{
		"p/kopia/app/p0123", "p/restic/app/config", "p/metadata/revision", "p/plugins/x/y", "p/top.txt", "p/backups.txt", "p/backups/loose",
		"backups/a/a.tar.gz", "q/backups/a/a.tar.gz", "p/backups-old/a/a.tar.gz",
	}
	l := backups.At(folders(slices.Concat(known, foreign, elsewhere)), "bucket", "p")
	found, err := All(t.Context(), l)
	require.NoError(t, err)
	var gotKnown, gotForeign []string
	for _, s := range found {
		if s.Known {
			gotKnown = append(gotKnown, s.Key)
		} else {
			gotForeign = append(gotForeign, s.Key)
		}
	}
	require.ElementsMatch(t, known, gotKnown)
	require.ElementsMatch(t, foreign, gotForeign)

	one, err := Backups(t.Context(), l, []string{"ab"})
	require.NoError(t, err)
	require.Len(t, one, 2, "no other backup whose name begins so")
	_, err = Backups(t.Context(), l, []string{"ab", "ac"})
	require.ErrorContains(t, err, `no backup "ac"`)
}
