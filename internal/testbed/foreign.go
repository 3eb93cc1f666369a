package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespaces of what AddForeign makes.
const (
	// ForeignNamespace has an application and snapshots of another tool.
	ForeignNamespace = "foreign"
	// ForeignVelero has a second Velero, with work of its plugin under way.
	ForeignVelero = "velero-of-others"
)

// ForeignOptions choose what others have in a cluster. The zero value is all of it.
type ForeignOptions struct {
	// Classes are the storage classes that have Available volumes; the three that
	// every cluster has, if empty.
	Classes []string
	// Staging is the namespace for a claim that has our labels, and was made by
	// somebody to lay hands on another's volume; "velero" if empty.
	Staging string
	// Label is called with each object of the second Velero's plugin (Kind says what
	// it is) before it is made, to give it the labels and annotations that the plugin
	// gives today. Purpose is "snapshot" or "restore". Without it they have those of
	// the plugin's first version.
	Label func(object metav1.Object, purpose string)
}

// Foreign is what others have in a cluster and its storage, and what nobody but
// they may touch:
//
//   - Available PersistentVolumes of each class, large enough for any claim: of the
//     cluster's own driver with somebody's data (kept ones, one that is deleted when
//     it is released, a raw block volume), of another CSI driver, of hostPath with
//     data, of NFS;
//   - a Released volume with data that is kept, and an application with a volume;
//   - snapshots of another tool, dynamic and static;
//   - a second Velero: a claim, a PersistentVolume, contents, a VolumeSnapshot and a
//     StorageClass that look like a restore and a snapshot of ours under way;
//   - a claim in our staging namespace that has our labels and names the
//     application's volume.
//
// An Available volume is what the controllers bind to a claim of its class, also to
// one with a data source. Cluster.CreateClaim keeps them from it for the claims it
// makes; no other claim is spared.
type Foreign struct {
	cluster *Cluster
	options ForeignOptions

	mu      sync.Mutex
	objects []foreignObject
	folders []string
	before  map[string]string
}

// AddForeign makes what others have, and returns when no controller changes any of
// it any more. A cluster has it once.
func (c *Cluster) AddForeign(ctx context.Context, o ForeignOptions) (*Foreign, error) {
	if len(o.Classes) == 0 {
		o.Classes = []string{ClassImmediate, ClassRetain, ClassWaitForFirstConsumer}
	}
	if o.Staging == "" {
		o.Staging = "velero"
	}
	if o.Label == nil {
		o.Label = firstVersion
	}
	f := &Foreign{cluster: c, options: o}
	for _, step := range []func(context.Context) error{
		f.addVolumes, f.addStaticVolumes, f.addSnapshots, f.addVelero, f.addForgery, f.calmDown,
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("add what others have: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign = f
	return f, nil
}

// firstVersion labels an object as the plugin's first version did.
func firstVersion(object metav1.Object, purpose string) {
	object.SetLabels(map[string]string{
		"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": purpose,
		"longshore.dev/request": object.GetName(), "velero.io/exclude-from-backup": "true",
	})
}

// Verify returns an error that tells what of it was changed or is gone.
func (f *Foreign) Verify(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.verify(ctx)
}

func (f *Foreign) verify(ctx context.Context) error {
	now, err := f.state(ctx)
	if err != nil {
		return fmt.Errorf("look at what others have: %w", err)
	}
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(f.before)) {
		if was, is := f.before[what], now[what]; was != is {
			errs = append(errs, fmt.Errorf("what others have was changed: %s: %s", what, difference(was, is)))
		}
	}
	return errors.Join(errs...)
}

// state has everything as text, by what it is.
func (f *Foreign) state(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for _, o := range f.objects {
		text, err := o.state(ctx, f.cluster)
		if err != nil {
			return nil, err
		}
		all[o.String()] = text
	}
	for _, folder := range f.folders {
		text, err := treeState(folder)
		if err != nil {
			return nil, err
		}
		all["files in "+filepath.Base(folder)] = text
	}
	return all, nil
}

// calmDown waits until the controllers have done what they do with new objects, and
// remembers what is then.
func (f *Foreign) calmDown(ctx context.Context) error {
	var last map[string]string
	err := Poll(ctx, time.Minute, "the controllers to leave what others have alone", func(ctx context.Context) (bool, string, error) {
		before, err := f.state(ctx)
		if err != nil {
			return false, "", err
		}
		time.Sleep(time.Second)
		if last, err = f.state(ctx); err != nil {
			return false, "", err
		}
		return maps.Equal(before, last), "still changing", nil
	})
	f.before = last
	return err
}

// withoutForeign keeps the controllers from binding an Available volume of others
// to what work creates.
func (c *Cluster) withoutForeign(ctx context.Context, work func() error) error {
	c.mu.Lock()
	f := c.foreign
	c.mu.Unlock()
	if f == nil {
		return work()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.verify(ctx); err != nil {
		return err
	}
	if err := f.reserve(ctx, true); err != nil {
		return err
	}
	return errors.Join(work(), f.reserve(ctx, false), f.calmDown(ctx))
}

// difference tells in which lines two texts differ, shortly.
func difference(was, is string) string {
	if is == "" {
		return "it is gone"
	}
	old, fresh := strings.Split(was, "\n"), strings.Split(is, "\n")
	var lines []string
	for _, line := range old {
		if !slices.Contains(fresh, line) {
			lines = append(lines, "-"+strings.TrimSpace(line))
		}
	}
	for _, line := range fresh {
		if !slices.Contains(old, line) {
			lines = append(lines, "+"+strings.TrimSpace(line))
		}
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], "…")
	}
	return strings.Join(lines, " ")
}
