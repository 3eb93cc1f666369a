package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

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
// makes it normal again. The driver's README says more of each.
type DriverControl struct {
	Rules []DriverRule `json:"rules,omitempty"`
	// Copying makes restores take time.
	Copying DriverCopying `json:"copying,omitzero"`
	// SnapshotReadyDelay is how long after its creation a snapshot can be used,
	// such as "5s".
	SnapshotReadyDelay string `json:"snapshotReadyDelay,omitempty"`
	// ListSnapshots and ModifyVolume, if false, take the capability away.
	ListSnapshots *bool `json:"listSnapshots,omitempty"`
	ModifyVolume  *bool `json:"modifyVolume,omitempty"`
	// HandleLength is how many bytes the handles of new volumes and snapshots have.
	HandleLength int `json:"handleLength,omitempty"`
	// RoundSizesTo is the unit in bytes to which sizes of new volumes are raised.
	RoundSizesTo int64 `json:"roundSizesTo,omitempty"`
	// KeepSources refuses to delete what a volume was made from, while it is there.
	KeepSources bool `json:"keepSources,omitempty"`
	// FullZones are the zones in which no volume can be made.
	FullZones []string `json:"fullZones,omitempty"`
	// RequireSecrets are secrets that calls must carry, as op:key=value.
	RequireSecrets []string `json:"requireSecrets,omitempty"`
}

// DriverCopying makes a volume with a source take Time ("20s"). The copy goes on
// when the caller gives up; a later call of the same name finds the volume. Without
// a Code CreateVolume answers when the volume is there, with one ("Unavailable",
// "Internal", "ResourceExhausted") it fails at once, each time until then.
type DriverCopying struct {
	Time    string `json:"time"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
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
	Driver         string    `json:"driver"`
	Node           string    `json:"node"`
	Method         string    `json:"method"`
	Name           string    `json:"name"`
	VolumeID       string    `json:"volumeId"`
	SnapshotID     string    `json:"snapshotId"`
	SourceVolumeID string    `json:"sourceVolumeId"`
	SourceSnapshot string    `json:"sourceSnapshotId"`
	ResultID       string    `json:"resultId"`
	// Secrets are the keys, SecretValues the values of the secrets in the call.
	Secrets      []string          `json:"secrets"`
	SecretValues map[string]string `json:"secretValues"`
	// Mutable are the parameters of the VolumeAttributesClass.
	Mutable map[string]string `json:"mutableParameters"`
	Code    string            `json:"code"`
	Message string            `json:"message"`
}

// DriverCalls returns the calls that the cluster's drivers answered so far.
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
