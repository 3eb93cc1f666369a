// Command testplugin is a plugin for the tests of the protocol. Its object
// store keeps objects as files in a folder and misbehaves where the key asks
// for it; its snapshotter answers with what it was asked.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
)

func main() {
	flags := pluginserver.ParseFlags(os.Args[1:])
	log := pluginserver.NewLogger(os.Stderr, flags.LogLevel)
	pluginserver.Serve(pluginserver.Plugins{
		Name: "longshore.dev/test",
		ObjectStore: func(_ context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
			return openStore(log, flags, config)
		},
		VolumeSnapshotter: func(context.Context, map[string]string) (pluginserver.VolumeSnapshotter, error) {
			return echo{}, nil
		},
		BackupItemAction: items{}, RestoreItemAction: items{},
	}, log)
}

type store struct {
	dir string
	log logrus.FieldLogger
}

func openStore(log logrus.FieldLogger, flags pluginserver.Flags, config map[string]string) (*store, error) {
	if config["dir"] == "" {
		return nil, errors.New(`config: dir: "" is not accepted; it takes a folder`)
	}
	s := &store{dir: config["dir"], log: log}
	s.note("opened", strings.Join(flags.Features, "+"))
	log.WithField("dir", s.dir).Debug("a debug line")
	log.WithField("attempt", 3).Info("an info line")
	log.WithError(errors.New("some cause")).Warn("a warning line")
	fmt.Println("stray text on standard output")
	return s, nil
}

// note appends a line to a file beside the objects, for the test to read.
func (s *store) note(words ...string) {
	f, err := os.OpenFile(filepath.Join(s.dir, "notes"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(words, " "))
}

// PutObject fails at once for a key with "refuse", panics for one with "panic",
// reads one byte for one with "half", forgets what it reads for one with
// "null", and else stores the body.
func (s *store) PutObject(ctx context.Context, _, key string, body io.Reader) error {
	switch {
	case strings.Contains(key, "refuse"):
		return fmt.Errorf("put object %s: the storage is full (InsufficientCapacity, HTTP 507); free some space", key)
	case strings.Contains(key, "panic"):
		panic("at the disco")
	case strings.Contains(key, "half"):
		_, err := io.CopyN(io.Discard, body, 1)
		return err
	}
	if strings.Contains(key, "null") {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, 1<<20))
		return err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		s.note("aborted", key, fmt.Sprint(ctx.Err() != nil))
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return os.WriteFile(filepath.Join(s.dir, key), content, 0o600)
}

func (s *store) ObjectExists(_ context.Context, _, key string) (bool, error) {
	_, err := os.Stat(filepath.Join(s.dir, key))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// GetObject breaks off in the middle for a key with "torn", waits for the
// caller's end for one with "slow", and gives 1 GiB of zeros for one with "null".
func (s *store) GetObject(ctx context.Context, _, key string) (io.ReadCloser, error) {
	if strings.Contains(key, "slow") {
		<-ctx.Done()
		s.note("cancelled", key)
		return nil, ctx.Err()
	}
	if strings.Contains(key, "null") {
		return io.NopCloser(io.LimitReader(zeros{}, 1<<30)), nil
	}
	if strings.Contains(key, "torn") {
		return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 100_000)), tornReader{})), nil
	}
	return os.Open(filepath.Join(s.dir, key))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type tornReader struct{}

func (tornReader) Read([]byte) (int, error) {
	return 0, errors.New("get object torn: the connection broke after 100000 of 200000 bytes")
}

func (s *store) ListCommonPrefixes(context.Context, string, string, string) ([]string, error) {
	return []string{s.dir}, nil
}

func (s *store) ListObjects(context.Context, string, string) ([]string, error) {
	panic(errors.New("an error as panic"))
}

func (s *store) DeleteObject(_ context.Context, _, key string) error {
	return os.Remove(filepath.Join(s.dir, key))
}

func (s *store) CreateSignedURL(_ context.Context, bucket, key string, ttl time.Duration) (string, error) {
	return fmt.Sprintf("https://%s/%s?ttl=%s", bucket, key, ttl), nil
}

type echo struct{}

func (echo) CreateSnapshot(_ context.Context, volumeID, volumeAZ string, tags map[string]string) (string, error) {
	return fmt.Sprint(volumeID, volumeAZ, tags), nil
}

func (echo) CreateVolumeFromSnapshot(_ context.Context, snapshotID, volumeType, volumeAZ string, iops *int64) (string, error) {
	if iops == nil {
		return snapshotID + volumeType + volumeAZ + "nil", nil
	}
	return fmt.Sprint(snapshotID, volumeType, volumeAZ, *iops), nil
}

func (echo) DeleteSnapshot(_ context.Context, snapshotID string) error {
	return errors.New("delete snapshot " + snapshotID + ": no")
}

func (echo) GetVolumeInfo(_ context.Context, volumeID, volumeAZ string) (string, *int64, error) {
	return volumeID + volumeAZ, nil, nil
}

func (echo) GetVolumeID(_ context.Context, persistentVolume []byte) (string, error) {
	return string(persistentVolume), nil
}

func (echo) SetVolumeID(_ context.Context, persistentVolume []byte, volumeID string) ([]byte, error) {
	return bytes.ReplaceAll(persistentVolume, []byte("old"), []byte(volumeID)), nil
}

// items begins an operation for each item, and answers with what it was asked.
type items struct{}

func (items) AppliesTo() []string { return []string{"persistentvolumes"} }

func (items) Execute(_ context.Context, item, backup []byte) (string, error) {
	if bytes.Contains(item, []byte("refuse")) {
		return "", errors.New("execute: no")
	}
	return nameIn(item) + " of " + nameIn(backup), nil
}

func (items) Progress(_ context.Context, operation string, backup []byte) (pluginserver.Progress, error) {
	return pluginserver.Progress{
		Done: true, Failure: "no space", Completed: 1, Total: 2, Units: "volumes", Description: operation + " in " + nameIn(backup),
		Started: time.Unix(1_000_000_000, 0),
	}, nil
}

func (items) Cancel(_ context.Context, operation string, _ []byte) error {
	return errors.New("cancel " + operation + ": no")
}

func nameIn(object []byte) string {
	var named struct {
		Metadata struct{ Name string }
	}
	if err := json.Unmarshal(object, &named); err != nil {
		panic(err)
	}
	return named.Metadata.Name
}
