// Package journal writes down in the cluster which snapshots the backups of a Velero
// were given, until their stored lists name them: docs/architecture.md says what for.
//
// A backup has a ConfigMap in Velero's namespace, or several where one would grow too
// large, each a [Page]. A page without an ID is removed.
package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

const (
	// limit bounds the bytes of IDs in a page. The API takes ConfigMaps up to 1 MiB
	// (https://kubernetes.io/docs/concepts/configuration/configmap/).
	limit = 512 << 10

	annotationUID = "longshore.dev/backup-uid"
)

// Annotations of a page that say where the list of its backup belongs, see [Backup]. A
// person may write them where they were not known.
const (
	AnnotationLocation = "longshore.dev/backup-location"
	AnnotationStore    = "longshore.dev/backup-store"
)

// ConfigMaps is the client for the ConfigMaps of Velero's namespace.
type ConfigMaps = kube.Resource[*corev1.ConfigMap]

// Journal is that of one Velero.
type Journal struct {
	ConfigMaps ConfigMaps
	Namespace  string // Velero's
	Owner      objects.Owner
}

// Backup says whose the snapshots are. What is not known is "".
type Backup struct {
	Name string
	UID  types.UID
	// Location is the name of the backup storage location where the list of snapshots
	// belongs, Store what that was when the snapshots were taken.
	Location, Store string
}

// Page is a ConfigMap of the journal.
type Page struct {
	Backup
	Deadline time.Time         // when the last of the calls that wrote to it has certainly ended
	IDs      map[string]string // of snapshots, by the keys they were added under

	state *corev1.ConfigMap
}

// Name is the name of the page's ConfigMap.
func (p Page) Name() string { return p.state.Name }

var (
	errFull    = errors.New("the page is full, or about to go")
	errRemoved = errors.New("the page was empty, and has just been removed")
	errInUse   = errors.New("the page has got an ID meanwhile")
)

// Add writes the ID down that the call has for the backup, under a key that no other call
// has an ID under.
func (j Journal) Add(ctx context.Context, backup Backup, call objects.Call, key, id string) error {
	for number := 0; ; number++ {
		err := j.addTo(ctx, backup, number, call, key, id)
		for errors.Is(err, errRemoved) && ctx.Err() == nil {
			err = j.addTo(ctx, backup, number, call, key, id)
		}
		if !errors.Is(err, errFull) {
			return err
		}
	}
}

func (j Journal) addTo(ctx context.Context, backup Backup, number int, call objects.Call, key, id string) error {
	wanted := j.page(backup, number, call)
	wanted.Data = map[string]string{key: id}
	page, err := j.ConfigMaps.Find(ctx, wanted.Name)
	if err == nil && page == nil {
		// Of one that is there after all, the removal may come before it is read.
		page, err = j.ConfigMaps.Create(ctx, wanted)
	}
	if isGone(err) {
		return errRemoved
	}
	if err != nil {
		return err
	}
	_, err = j.ConfigMaps.Edit(ctx, page, func(now *corev1.ConfigMap) (kube.Patch, error) {
		switch now.Data[key] {
		case "":
		case id:
			return nil, nil
		default:
			return nil, fmt.Errorf("ConfigMap %s has another snapshot for the same volume", now.Name)
		}
		if now.DeletionTimestamp != nil || size(now)+len(id) > limit {
			return nil, errFull
		}
		annotations := map[string]string{objects.AnnotationDeadline: objects.FormatTime(call.Deadline)}
		return kube.Patch{"metadata": map[string]any{"annotations": annotations}, "data": wanted.Data}, nil
	})
	if isGone(err) {
		return errRemoved
	}
	return err
}

// isGone tells whether an error says that a ConfigMap is not there, and not that its
// namespace is not.
func isGone(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind != "namespaces"
}

// page is a new ConfigMap of a backup. Its name tells the backup.
func (j Journal) page(backup Backup, number int, call objects.Call) *corev1.ConfigMap {
	text := fmt.Sprintf("%s/%s/%s/%d", j.Owner.Velero, backup.Name, backup.UID, number)
	call.Purpose, call.Backup, call.UID = objects.Journal, backup.Name, types.UID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(text)).String())
	return &corev1.ConfigMap{ObjectMeta: call.Meta(j.Namespace, map[string]string{
		annotationUID: string(backup.UID), AnnotationLocation: backup.Location, AnnotationStore: backup.Store,
	})}
}

func size(page *corev1.ConfigMap) (bytes int) {
	for key, id := range page.Data {
		bytes += len(key) + len(id)
	}
	return bytes
}

// Pages returns all pages.
func (j Journal) Pages(ctx context.Context) ([]Page, error) {
	all, err := j.ConfigMaps.List(ctx, j.Owner.Selector()+","+objects.LabelPurpose+"="+string(objects.Journal))
	if err != nil {
		return nil, fmt.Errorf("read the journal of snapshots: %w", err)
	}
	var pages []Page
	for _, m := range all {
		if objects.PurposeOf(m) != objects.Journal {
			continue
		}
		deadline, _ := objects.DeadlineOf(m) // PurposeOf has looked at it
		pages = append(pages, Page{
			Backup: Backup{
				Name: m.Annotations[objects.AnnotationBackup], UID: types.UID(m.Annotations[annotationUID]),
				Location: m.Annotations[AnnotationLocation], Store: m.Annotations[AnnotationStore],
			},
			Deadline: deadline, IDs: maps.Clone(m.Data), state: m,
		})
	}
	return pages, nil
}

// Remove takes IDs out of a page, by their keys, and the page with the last of them.
func (j Journal) Remove(ctx context.Context, page Page, keys ...string) error {
	now, err := j.ConfigMaps.Edit(ctx, page.state, func(now *corev1.ConfigMap) (kube.Patch, error) {
		gone := map[string]any{}
		for _, key := range keys {
			if _, there := now.Data[key]; there {
				gone[key] = nil
			}
		}
		if len(gone) == 0 {
			return nil, nil
		}
		return kube.Patch{"data": gone}, nil
	})
	if err == nil && len(now.Data) == 0 {
		_, err = j.ConfigMaps.Delete(ctx, now, func(now *corev1.ConfigMap) (kube.Patch, error) {
			if len(now.Data) > 0 {
				return nil, errInUse
			}
			return nil, nil
		})
	}
	if apierrors.IsNotFound(err) || errors.Is(err, errInUse) {
		return nil
	}
	return err
}
