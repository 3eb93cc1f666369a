package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errControl says that the control file cannot be used.
var errControl = errors.New("bad control file")

// settings is what the control file holds; README.md explains each key.
type settings struct {
	Rules              []rule          `json:"rules"`
	Copying            copying         `json:"copying"`
	SnapshotReadyDelay duration        `json:"snapshotReadyDelay"`
	ListSnapshots      *bool           `json:"listSnapshots"`
	ModifyVolume       *bool           `json:"modifyVolume"`
	Groups             *bool           `json:"groups"`
	DeleteMembers      bool            `json:"deleteMembers"`
	HideGroups         bool            `json:"hideGroups"`
	HandleLength       int             `json:"handleLength"`
	RoundSizesTo       int64           `json:"roundSizesTo"`
	KeepSources        bool            `json:"keepSources"`
	FullZones          []string        `json:"fullZones"`
	RequireSecrets     requiredSecrets `json:"requireSecrets"`
}

func (s *settings) listsSnapshots() bool {
	return s.ListSnapshots == nil || *s.ListSnapshots
}

func (s *settings) modifiesVolumes() bool {
	return s.ModifyVolume == nil || *s.ModifyVolume
}

func (s *settings) takesGroups() bool { return s.Groups == nil || *s.Groups }

func (s *settings) validate() error {
	for i := range s.Rules {
		if err := s.Rules[i].validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i, err)
		}
	}
	switch {
	case s.Copying.Time < 0:
		return fmt.Errorf("copying.time is %s, must not be negative", time.Duration(s.Copying.Time))
	case s.Copying.Time == 0 && s.Copying != (copying{}):
		return errors.New("copying needs a time")
	case s.HandleLength < 0 || s.RoundSizesTo < 0:
		return errors.New("handleLength and roundSizesTo must not be negative")
	}
	return nil
}

type rule struct {
	Method  string   `json:"method"`
	Match   string   `json:"match"`
	Delay   duration `json:"delay"`
	Code    rpcCode  `json:"code"`
	Message string   `json:"message"`
	Times   *int     `json:"times"`
	After   bool     `json:"after"`
}

func (r *rule) validate() error {
	switch {
	case r.Method == "":
		return errors.New("method is required")
	case r.Times != nil && *r.Times < 1:
		return fmt.Errorf("times is %d, must be at least 1; leave it out for a rule without end", *r.Times)
	case r.Delay < 0:
		return fmt.Errorf("delay is %s, must not be negative", time.Duration(r.Delay))
	case r.Code == rpcCode(codes.OK) && (r.After || r.Message != ""):
		return errors.New("after and message need a code")
	}
	return nil
}

func (r *rule) fits(call *callRecord) bool {
	if r.Method != call.Method && r.Method != "*" {
		return false
	}
	for _, text := range append(call.SourceVolumeIDs, call.Name, call.VolumeID, call.SnapshotID, call.SourceVolumeID, call.SourceSnapshotID, call.GroupSnapshotID) {
		if strings.Contains(text, r.Match) {
			return true
		}
	}
	return false
}

// failure is nil for a rule that only delays.
func (r *rule) failure() error {
	if r.Code == rpcCode(codes.OK) {
		return nil
	}
	return status.Error(codes.Code(r.Code), r.Message)
}

// duration reads Go's form of a duration.
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var form string
	if err := json.Unmarshal(text, &form); err != nil {
		return fmt.Errorf("want a duration such as \"2s\", not %s", text)
	}
	parsed, err := time.ParseDuration(form)
	*d = duration(parsed)
	return err
}

// rpcCode reads the name of a gRPC code, such as Unavailable.
type rpcCode codes.Code

func (c *rpcCode) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return fmt.Errorf("want the name of a gRPC code, not %s", text)
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code.String() == name {
			*c = rpcCode(code)
			return nil
		}
	}
	return fmt.Errorf("%q is not the name of a gRPC code that fails, such as Unavailable", name)
}

// controlFile is re-read whenever the file on disk is another one.
type controlFile struct {
	path string

	mu       sync.Mutex
	info     fs.FileInfo // of the file the rest was read from; nil for none
	settings *settings
	used     []int // by position of the rule
}

func newControlFile(path string) *controlFile {
	return &controlFile{path: path, settings: &settings{}}
}

// read returns the settings of the moment, which callers must not change. A
// file that cannot be used is an error each time until it is replaced.
func (c *controlFile) read() (*settings, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refresh()
}

// use returns the first rule that fits the call and is not used up, counts it,
// and gives its position; nil when none fits.
func (c *controlFile) use(call *callRecord) (*rule, int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	settings, err := c.refresh()
	if err != nil {
		return nil, 0, err
	}
	for i := range settings.Rules {
		rule := &settings.Rules[i]
		if !rule.fits(call) || rule.Times != nil && c.used[i] >= *rule.Times {
			continue
		}
		c.used[i]++
		return rule, i, nil
	}
	return nil, 0, nil
}

func (c *controlFile) refresh() (*settings, error) {
	info, err := os.Stat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		c.info, c.settings, c.used = nil, &settings{}, nil
		return c.settings, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errControl, err)
	}
	if c.info != nil && sameFile(c.info, info) {
		return c.settings, nil
	}
	fresh, info, err := loadSettings(c.path)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errControl, c.path, err)
	}
	c.info, c.settings, c.used = info, fresh, make([]int, len(fresh.Rules))
	return fresh, nil
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// loadSettings returns with the settings the file they came from, which may be
// a newer one than the path named a moment ago.
func loadSettings(path string) (*settings, fs.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	fresh, err := decodeSettings(file)
	return fresh, info, err
}

func decodeSettings(from io.Reader) (*settings, error) {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	fresh := &settings{}
	if err := decoder.Decode(fresh); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON document")
	}
	return fresh, fresh.validate()
}

// wait ends early, with the matching gRPC code, when ctx does.
func wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
