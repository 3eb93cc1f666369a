package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// StoredVolume is what the driver's books say of a volume.
type StoredVolume struct {
	// ID is the handle, Name that by which csi-provisioner asked for it.
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	CapacityBytes int64             `json:"capacityBytes"`
	Topology      map[string]string `json:"topology"`
	Parameters    map[string]string `json:"parameters"`
	// Mutable are the parameters of the VolumeAttributesClass.
	Mutable map[string]string `json:"mutableParameters"`
}

// StoredVolumes lists the volumes in the books of the cluster's drivers, by name.
func (c *Cluster) StoredVolumes() ([]StoredVolume, error) {
	volumes, err := c.storedVolumes()
	if err != nil {
		return nil, fmt.Errorf("read the driver's volumes: %w", err)
	}
	slices.SortFunc(volumes, func(a, b StoredVolume) int { return strings.Compare(a.Name, b.Name) })
	return volumes, nil
}

func (c *Cluster) storedVolumes() ([]StoredVolume, error) {
	var all []StoredVolume
	for _, storage := range c.storages() {
		files, err := filepath.Glob(filepath.Join(storage, "volumes", "*", "volume.json"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			var v StoredVolume
			switch err := readJSON(file, &v); {
			case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
			case err != nil:
				return nil, err
			default:
				all = append(all, v)
			}
		}
	}
	return all, nil
}

func readJSON(file string, value any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}
