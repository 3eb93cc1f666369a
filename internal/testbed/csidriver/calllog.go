package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callRecord is one line of the call log.
type callRecord struct {
	Time             time.Time `json:"time"`
	Driver           string    `json:"driver"`
	Node             string    `json:"node"`
	Method           string    `json:"method"`
	Name             string    `json:"name,omitempty"`
	VolumeID         string    `json:"volumeId,omitempty"`
	SnapshotID       string    `json:"snapshotId,omitempty"`
	SourceVolumeID   string    `json:"sourceVolumeId,omitempty"`
	SourceSnapshotID string    `json:"sourceSnapshotId,omitempty"`
	GroupSnapshotID  string    `json:"groupSnapshotId,omitempty"`
	SourceVolumeIDs  []string  `json:"sourceVolumeIds,omitempty"`
	ResultID         string    `json:"resultId,omitempty"`
	Secrets          []string  `json:"secrets,omitempty"`
	// SecretValues are kept only where the command line asks for them.
	SecretValues map[string]string `json:"secretValues,omitempty"`
	Mutable      map[string]string `json:"mutableParameters,omitempty"`
	Rule         *int              `json:"rule,omitempty"`
	Code         string            `json:"code"`
	Message      string            `json:"message,omitempty"`
	Milliseconds int64             `json:"ms"`
}

func newCallRecord(cfg config, method string, req any) *callRecord {
	call := &callRecord{Time: time.Now().UTC(), Driver: cfg.name, Node: cfg.nodeID, Method: method}
	if r, ok := req.(interface{ GetName() string }); ok {
		call.Name = r.GetName()
	}
	if r, ok := req.(interface{ GetVolumeId() string }); ok {
		call.VolumeID = r.GetVolumeId()
	}
	if r, ok := req.(interface{ GetSnapshotId() string }); ok {
		call.SnapshotID = r.GetSnapshotId()
	}
	if r, ok := req.(interface{ GetSourceVolumeId() string }); ok {
		call.SourceVolumeID = r.GetSourceVolumeId()
	}
	if r, ok := req.(interface{ GetGroupSnapshotId() string }); ok {
		call.GroupSnapshotID = r.GetGroupSnapshotId()
	}
	if r, ok := req.(interface{ GetSourceVolumeIds() []string }); ok {
		call.SourceVolumeIDs = r.GetSourceVolumeIds()
	}
	if r, ok := req.(*csi.CreateVolumeRequest); ok {
		call.SourceVolumeID = r.GetVolumeContentSource().GetVolume().GetVolumeId()
		call.SourceSnapshotID = r.GetVolumeContentSource().GetSnapshot().GetSnapshotId()
	}
	if r, ok := req.(interface{ GetMutableParameters() map[string]string }); ok {
		call.Mutable = r.GetMutableParameters()
	}
	call.Secrets = slices.Sorted(maps.Keys(secretsOf(req)))
	return call
}

func secretsOf(req any) map[string]string {
	if r, ok := req.(interface{ GetSecrets() map[string]string }); ok {
		return r.GetSecrets()
	}
	return nil
}

func resultID(response any) string {
	switch r := response.(type) {
	case *csi.CreateVolumeResponse:
		return r.GetVolume().GetVolumeId()
	case *csi.CreateSnapshotResponse:
		return r.GetSnapshot().GetSnapshotId()
	case *csi.CreateVolumeGroupSnapshotResponse:
		return r.GetGroupSnapshot().GetGroupSnapshotId()
	default:
		return ""
	}
}

// callLog appends a line for each call of the Controller, GroupController and Node
// services.
// Lines are appended with one write each, so those of several processes do not
// mix.
type callLog struct {
	file *os.File
	cfg  config
	log  *slog.Logger
}

func openCallLog(cfg config, log *slog.Logger) (*callLog, error) {
	file, err := os.OpenFile(cfg.callLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the call log: %w", err)
	}
	return &callLog{file: file, cfg: cfg, log: log}, nil
}

type callKey struct{}

// callFrom returns nil within a call that is not logged.
func callFrom(ctx context.Context) *callRecord {
	call, _ := ctx.Value(callKey{}).(*callRecord)
	return call
}

// intercept fails a call that cannot be logged: books with a gap would be a
// lie, and the caller may repeat any call.
func (l *callLog) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if strings.HasPrefix(info.FullMethod, "/csi.v1.Identity/") {
		return handler(ctx, req)
	}
	call := newCallRecord(l.cfg, path.Base(info.FullMethod), req)
	if l.cfg.logSecrets {
		call.SecretValues = secretsOf(req)
	}
	response, err := handler(context.WithValue(ctx, callKey{}, call), req)
	call.Code = status.Code(err).String()
	call.Milliseconds = time.Since(call.Time).Milliseconds()
	if err != nil {
		call.Message = status.Convert(err).Message()
		l.log.Warn("call failed", "method", call.Method, "code", call.Code, "message", call.Message)
	}
	if writeErr := l.write(call); writeErr != nil {
		return nil, status.Errorf(codes.Internal, "%s: write the call log: %v", call.Method, writeErr)
	}
	return response, err
}

func (l *callLog) write(call *callRecord) error {
	line, err := json.Marshal(call)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(line, '\n'))
	return err
}

// countCalls counts the lines of a call log by method; a log that was never
// begun has none.
func countCalls(path string) (map[string]int, error) {
	counts := map[string]int{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return counts, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the call log: %w", err)
	}
	defer file.Close()
	decoder := json.NewDecoder(bufio.NewReader(file))
	for decoder.More() {
		var call callRecord
		if err := decoder.Decode(&call); err != nil {
			return nil, fmt.Errorf("read the call log: %w", err)
		}
		counts[call.Method]++
	}
	return counts, nil
}
