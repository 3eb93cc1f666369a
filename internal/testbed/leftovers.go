package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leftovers are the names of what a plugin could leave behind, empty if nothing.
type Leftovers struct {
	// VolumeSnapshots and Claims as namespace/name.
	VolumeSnapshots, Claims                   []string
	VolumeSnapshotContents, PersistentVolumes []string
	// StorageClasses are those that the plugin makes, by their names.
	StorageClasses []string
	// StorageVolumes and StorageSnapshots are the handles in the driver's own
	// books (the beginning of one that DriverControl.HandleLength made long),
	// StorageTemp what it has half made, StorageForgotten the volumes that the
	// driver no longer knows (see LikeVSphere).
	StorageVolumes, StorageSnapshots, StorageTemp, StorageForgotten []string
}

// Leftovers lists everything of these kinds in the cluster and in its storage;
// what of it belongs there is for the caller to say.
func (c *Cluster) Leftovers(ctx context.Context) (Leftovers, error) {
	var l Leftovers
	err := errors.Join(c.listObjects(ctx, &l), c.listStorage(&l))
	if err != nil {
		return l, fmt.Errorf("list leftovers: %w", err)
	}
	return l, nil
}

// Without returns what is not among others.
func (l Leftovers) Without(others Leftovers) Leftovers {
	for _, kind := range []struct {
		names  *[]string
		others []string
	}{
		{&l.VolumeSnapshots, others.VolumeSnapshots},
		{&l.Claims, others.Claims},
		{&l.VolumeSnapshotContents, others.VolumeSnapshotContents},
		{&l.PersistentVolumes, others.PersistentVolumes},
		{&l.StorageClasses, others.StorageClasses},
		{&l.StorageVolumes, others.StorageVolumes},
		{&l.StorageSnapshots, others.StorageSnapshots},
		{&l.StorageTemp, others.StorageTemp},
		{&l.StorageForgotten, others.StorageForgotten},
	} {
		*kind.names = slices.DeleteFunc(slices.Clone(*kind.names), func(name string) bool { return slices.Contains(kind.others, name) })
	}
	return l
}

func (c *Cluster) listObjects(ctx context.Context, l *Leftovers) error {
	snapshots, err := c.Snapshots.VolumeSnapshots("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range snapshots.Items {
		l.VolumeSnapshots = append(l.VolumeSnapshots, o.Namespace+"/"+o.Name)
	}
	contents, err := c.Snapshots.VolumeSnapshotContents().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range contents.Items {
		l.VolumeSnapshotContents = append(l.VolumeSnapshotContents, o.Name)
	}
	claims, err := c.Kube.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range claims.Items {
		l.Claims = append(l.Claims, o.Namespace+"/"+o.Name)
	}
	volumes, err := c.Kube.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range volumes.Items {
		l.PersistentVolumes = append(l.PersistentVolumes, o.Name)
	}
	classes, err := c.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range classes.Items {
		if strings.HasPrefix(o.Name, "longshore-") {
			l.StorageClasses = append(l.StorageClasses, o.Name)
		}
	}
	return nil
}

func (c *Cluster) listStorage(l *Leftovers) error {
	for _, storage := range c.storages() {
		for folder, names := range map[string]*[]string{
			"volumes": &l.StorageVolumes, "snapshots": &l.StorageSnapshots, "tmp": &l.StorageTemp, forgotten: &l.StorageForgotten,
		} {
			entries, err := os.ReadDir(filepath.Join(storage, folder))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, entry := range entries {
				*names = append(*names, entry.Name())
			}
		}
	}
	return nil
}
