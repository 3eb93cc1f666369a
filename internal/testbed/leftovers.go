package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leftovers are the names of what a plugin could leave behind, empty if nothing.
type Leftovers struct {
	// VolumeSnapshots and Claims as namespace/name.
	VolumeSnapshots, Claims                   []string
	VolumeSnapshotContents, PersistentVolumes []string
	// StorageVolumes and StorageSnapshots are the handles in the driver's own
	// books, StorageTemp what it has half made.
	StorageVolumes, StorageSnapshots, StorageTemp []string
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
	return nil
}

func (c *Cluster) listStorage(l *Leftovers) error {
	for _, storage := range c.storages() {
		for folder, names := range map[string]*[]string{
			"volumes": &l.StorageVolumes, "snapshots": &l.StorageSnapshots, "tmp": &l.StorageTemp,
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

// DriverRule makes calls of the CSI driver slow or fail; the keys are those of
// the control file in the driver's README.
type DriverRule struct {
	Method  string `json:"method"`
	Match   string `json:"match,omitempty"`
	Delay   string `json:"delay,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Times   int    `json:"times,omitempty"`
	After   bool   `json:"after,omitempty"`
}

// DriverControl changes the CSI driver's behaviour while it runs. The zero value
// makes it normal again.
type DriverControl struct {
	Rules              []DriverRule `json:"rules,omitempty"`
	SnapshotReadyDelay string       `json:"snapshotReadyDelay,omitempty"`
	ListSnapshots      *bool        `json:"listSnapshots,omitempty"`
}

// ControlDriver tells the cluster's CSI driver how to behave from the next call on.
func (c *Cluster) ControlDriver(control DriverControl) error {
	text, err := json.Marshal(control)
	if err != nil {
		return fmt.Errorf("control the driver: %w", err)
	}
	fresh := c.controlFile() + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return fmt.Errorf("control the driver: %w", err)
	}
	return os.Rename(fresh, c.controlFile())
}

// DriverCall is a call that the CSI driver answered.
type DriverCall struct {
	Time           time.Time `json:"time"`
	Node           string    `json:"node"`
	Method         string    `json:"method"`
	Name           string    `json:"name"`
	VolumeID       string    `json:"volumeId"`
	SnapshotID     string    `json:"snapshotId"`
	SourceVolumeID string    `json:"sourceVolumeId"`
	ResultID       string    `json:"resultId"`
	Secrets        []string  `json:"secrets"`
	Code           string    `json:"code"`
	Message        string    `json:"message"`
}

// DriverCalls returns the calls that the cluster's driver answered so far.
func (c *Cluster) DriverCalls() ([]DriverCall, error) {
	file, err := os.Open(c.callLog())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the driver's calls: %w", err)
	}
	defer file.Close()
	var calls []DriverCall
	for decoder := json.NewDecoder(file); decoder.More(); {
		var call DriverCall
		if err := decoder.Decode(&call); err != nil {
			return nil, fmt.Errorf("read the driver's calls: %w", err)
		}
		calls = append(calls, call)
	}
	return calls, nil
}
