package verify

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// contents is what an archive is found to hold. Of an item it keeps the name.
type contents struct {
	findings
	b       *backup
	version string
	items   map[item]forms
	sizes   map[string]int64 // of the PersistentVolumes, in bytes
	needs   needs
}

// item is one that an archive holds, or a list names, in whichever version of its
// API: Velero has plugins that keep another one than they were given.
type item struct{ kind, id string }

// itemOf takes an APIVERSION/KIND, and makes it ConfigMap or Deployment.apps.
func itemOf(typ, id string) item {
	words := strings.Split(typ, "/")
	kind := words[len(words)-1]
	if len(words) > 2 {
		kind += "." + words[0]
	}
	return item{kind, id}
}

// forms tell in which places an item is.
type forms struct{ plain, preferred bool }

func (b *backup) archive(ctx context.Context) (string, error) {
	c := &contents{b: b, items: map[item]forms{}, sizes: map[string]int64{}}
	if err := b.l.Archive(ctx, b.name, c.take); err != nil {
		return "", err
	}
	b.needs = &c.needs
	if b.meta != nil && c.version != b.meta.Status.FormatVersion {
		c.fail("its format is %q, the metadata say %q", c.version, b.meta.Status.FormatVersion)
	}
	for i, in := range c.items {
		if in.preferred && !in.plain {
			c.fail("%s %s is not where a restore looks for it", i.kind, i.id)
		}
	}
	if b.read[backups.PartResourceList] {
		c.compareItems()
	}
	c.compareVolumes()
	return c.end(check.Count(len(c.items), "item"), mixed)
}

// take looks at a file of the archive.
func (c *contents) take(e backups.Entry) error {
	c.wroteInTime(e)
	if e.Path == "metadata/version" {
		const longest = 100
		text, err := io.ReadAll(io.LimitReader(e.Content, longest))
		c.version = strings.TrimSpace(string(text))
		return err
	}
	place, ok := backups.ParsePlace(e.Path)
	if !ok {
		c.warn("%s is nothing that Velero writes", e.Path)
		return nil
	}
	i, err := backups.ReadItem(e)
	switch {
	case backups.IsDamage(err):
		c.fail("%s: %v", e.Path, err)
		return nil
	case err != nil:
		return err
	case i.Metadata.Name != place.Name || i.Metadata.Namespace != place.Namespace || i.Kind == "":
		c.fail("%s holds %s %s", e.Path, i.Type(), i.ID())
		return nil
	}
	c.add(i, place)
	return nil
}

func (c *contents) add(i *backups.Item, place backups.Place) {
	key := itemOf(i.Type(), i.ID())
	in := c.items[key]
	in.plain = in.plain || place.Version == ""
	in.preferred = in.preferred || place.Preferred
	c.items[key] = in
	c.needs.note(i, place)
	if key.kind == persistentVolume {
		c.sizes[i.Metadata.Name] = capacity(i.Spec)
	}
}

const persistentVolume = "PersistentVolume"

func capacity(spec json.RawMessage) int64 {
	var pv struct {
		Capacity struct {
			Storage resource.Quantity `json:"storage"`
		} `json:"capacity"`
	}
	if json.Unmarshal(spec, &pv) != nil {
		return 0
	}
	return pv.Capacity.Storage.Value()
}

// clocks is how far the times of files may lie outside of the backup's own: they
// have whole seconds, and a clock may be set meanwhile.
const clocks = time.Minute

// wroteInTime tells an archive from that of another backup with the same items.
func (c *contents) wroteInTime(e backups.Entry) {
	if c.b.meta == nil {
		return
	}
	s := &c.b.meta.Status
	if s.StartTimestamp != nil && e.ModTime.Before(s.StartTimestamp.Add(-clocks)) ||
		s.CompletionTimestamp != nil && e.ModTime.After(s.CompletionTimestamp.Add(clocks)) {
		c.fail("%s is of %s, when this backup did not run", e.Path, e.ModTime.UTC().Format(time.DateTime))
	}
}

// compareItems wants the archive and the list to have the same items. What plugins
// bring after the items are saved is not in the list.
func (c *contents) compareItems() {
	listed := map[item]bool{}
	for _, kind := range slices.Sorted(maps.Keys(c.b.list)) {
		for _, id := range c.b.list[kind] {
			i := itemOf(kind, id)
			listed[i] = true
			if _, in := c.items[i]; !in {
				c.b.lacks(&c.findings, "%s %s is in the list and not in the archive", i.kind, i.id)
			}
		}
	}
	if len(c.b.ops) > 0 {
		return
	}
	for i := range c.items {
		if !listed[i] {
			c.fail("%s %s is in the archive and not in the list", i.kind, i.id)
		}
	}
}

// compareVolumes wants the volumes of all snapshots, which a restore needs, and
// snapshots that are not smaller than their volumes.
func (c *contents) compareVolumes() {
	for i := range c.b.taken {
		pv := c.b.taken[i].Spec.PersistentVolume
		size, there := c.sizes[pv]
		if !there {
			c.b.lacks(&c.findings, "volume %s has a snapshot and is not in the archive", pv)
			continue
		}
		if stored, ours, err := snapshotter.ReadID(c.b.taken[i].Status.ID); ours && err == nil && stored.Size < size {
			c.fail("the snapshot of volume %s has %s, the volume %s", pv, backups.FormatSize(stored.Size), backups.FormatSize(size))
		}
	}
}
