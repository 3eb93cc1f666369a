package backups

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// Description is what is in a backup, in short.
type Description struct {
	Name           string     `json:"name"`
	Phase          string     `json:"phase"`
	Started        *time.Time `json:"started,omitempty"`
	Completed      *time.Time `json:"completed,omitempty"`
	Expires        *time.Time `json:"expires,omitempty"`
	Schedule       string     `json:"schedule,omitempty"`
	Kubernetes     string     `json:"kubernetes,omitempty"` // version of the cluster
	Namespaces     []string   `json:"namespaces"`           // of the items
	Items          int        `json:"items"`
	Kinds          []Kind     `json:"kinds"`
	Volumes        []Saved    `json:"volumes"`
	Errors         Messages   `json:"errors"`
	Warnings       Messages   `json:"warnings"`
	Objects        []string   `json:"objects"` // in the backup's folder
	FailureReasons []string   `json:"failureReasons,omitempty"`
	Unread         []string   `json:"unread,omitempty"` // what could not be read and is not known: metadata, items, volumes, messages, objects
}

// Kind counts the items of a kind.
type Kind struct {
	Type  string `json:"type"` // APIVERSION/KIND
	Items int    `json:"items"`
}

// Saved is a volume, and how it was saved.
type Saved struct {
	Claim  string `json:"claim,omitempty"` // NAMESPACE/NAME
	Volume string `json:"volume,omitempty"`
	Method string `json:"method,omitempty"`
	Size   int64  `json:"size,omitempty"` // in bytes, where it is known
	Result string `json:"result"`
	Handle string `json:"handle,omitempty"` // of the snapshot, in the storage
	Driver string `json:"driver,omitempty"`
	Reason string `json:"reason,omitempty"` // why it was skipped
}

// Describe reads all lists of a backup. What could be read is returned also with
// an error, unless that is a [Missing].
func (l *Location) Describe(ctx context.Context, backup string) (*Description, error) {
	b, err := l.Metadata(ctx, backup)
	if _, none := asMissing(err); none {
		return nil, err
	}
	items, itemsErr := l.ResourceList(ctx, backup)
	volumes, volumesErr := l.Volumes(ctx, backup)
	results, resultsErr := l.Results(ctx, backup)
	if err == nil && b.Before113() { // which may have written neither
		volumesErr, resultsErr = unlessMissing(volumesErr), unlessMissing(resultsErr)
	}
	objects, objectsErr := l.Objects(ctx, backup)
	d := describe(b)
	d.Name, d.Objects, d.Errors, d.Warnings = backup, objects, results.Errors, results.Warnings
	d.addItems(items)
	for i := range volumes {
		d.Volumes = append(d.Volumes, volumes[i].saved())
	}
	slices.SortFunc(d.Volumes, func(a, b Saved) int {
		return cmp.Or(cmp.Compare(a.Claim, b.Claim), cmp.Compare(a.Volume, b.Volume))
	})
	return d, d.without(
		part{"metadata", err}, part{"items", itemsErr}, part{"volumes", volumesErr}, part{"messages", resultsErr}, part{"objects", objectsErr})
}

// part is a part of a description, and why it could not be read.
type part struct {
	name string
	err  error
}

// without notes which parts could not be read, and returns why.
func (d *Description) without(parts ...part) error {
	var errs []error
	for _, p := range parts {
		if p.err != nil {
			d.Unread, errs = append(d.Unread, p.name), append(errs, p.err)
		}
	}
	return errors.Join(errs...)
}

func unlessMissing(err error) error {
	if IsMissing(err) {
		return nil
	}
	return err
}

func describe(b *Backup) *Description {
	d := &Description{
		Phase: b.Status.Phase, Started: b.Status.StartTimestamp, Completed: b.Status.CompletionTimestamp, Expires: b.Status.Expiration,
		Schedule: b.Schedule(), Kubernetes: b.Metadata.Annotations["velero.io/source-cluster-k8s-gitversion"],
		Namespaces: []string{}, Kinds: []Kind{}, Volumes: []Saved{}, FailureReasons: b.Status.ValidationErrors,
	}
	if b.Status.FailureReason != "" {
		d.FailureReasons = append(d.FailureReasons, b.Status.FailureReason)
	}
	return d
}

func (d *Description) addItems(list ResourceList) {
	namespaces := map[string]bool{}
	for _, kind := range slices.Sorted(maps.Keys(list)) {
		d.Kinds = append(d.Kinds, Kind{kind, len(list[kind])})
		d.Items += len(list[kind])
		for _, id := range list[kind] {
			if namespace, _, in := strings.Cut(id, "/"); in {
				namespaces[namespace] = true
			}
		}
	}
	d.Namespaces = append(d.Namespaces, slices.Sorted(maps.Keys(namespaces))...)
}

func (v *Volume) saved() Saved {
	s := Saved{Claim: v.Claim(), Volume: v.Name, Method: v.Method, Result: cmp.Or(v.Result, "unknown")}
	switch {
	case v.Skipped:
		s.Result, s.Reason = "skipped", v.SkippedReason
	case v.Native != nil:
		s.Handle = v.Native.Handle
		if id, ours, err := snapshotter.ReadID(s.Handle); ours && err == nil {
			s.Handle, s.Driver, s.Size = id.Handle, id.Driver, id.Size
		}
	case v.Moved != nil:
		s.Handle, s.Size = v.Moved.Handle, v.Moved.Size
	case v.CSI != nil:
		s.Handle, s.Driver, s.Size = v.CSI.Handle, v.CSI.Driver, v.CSI.Size
	case v.PodVolume != nil:
		s.Handle, s.Size = v.PodVolume.Handle, v.PodVolume.Size
		s.Claim = cmp.Or(s.Claim, "volume "+v.PodVolume.Volume+" of pod "+v.PodVolume.Namespace+"/"+v.PodVolume.Pod)
	}
	return s
}

// Claim is the NAMESPACE/NAME of the volume's claim, "" if it has none.
func (v *Volume) Claim() string {
	if v.ClaimName == "" {
		return ""
	}
	return v.ClaimNamespace + "/" + v.ClaimName
}

// FormatSize writes a size in bytes as Kubernetes does, such as 10Gi.
func FormatSize(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
