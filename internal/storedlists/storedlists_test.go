package storedlists

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

const bucket = "lists"

// TestProcess reads lists from a location as Velero opens it, and tells what is surely
// not there from what it cannot read.
func TestProcess(t *testing.T) {
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Buckets: []string{bucket}})
	require.NoError(t, err)
	log, _ := test.NewNullLogger()
	process := New(log)
	open := process.ObjectStores(func(ctx context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
		return objectstore.Open(ctx, log, config)
	})
	config := s3.LocationConfig()
	config["bucket"], config["prefix"], config["credentialsFile"] = bucket, "p", s3.CredentialsFile
	store := snapshotter.StoreName(config["s3Url"], bucket, "/p/")

	_, _, err = process.SnapshotIDs(t.Context(), "default", store, "b")
	require.ErrorIs(t, err, snapshotter.ErrNotOpen)
	opened, err := open(t.Context(), config)
	require.NoError(t, err)
	put := func(name string, content []byte) {
		require.NoError(t, opened.PutObject(t.Context(), bucket, "p/backups/b/"+name, bytes.NewReader(content)))
	}
	read := func() ([]string, bool, error) { return process.SnapshotIDs(t.Context(), "default", store, "b") }

	_, stored, err := read()
	require.NoError(t, err)
	require.False(t, stored, "there is no such backup")
	put("velero-backup.json", []byte("{}"))
	_, stored, err = read()
	require.NoError(t, err)
	require.False(t, stored, "Velero died before it stored the list")

	list := backuptest.Gzip(t, []byte(`[{"status": {"providerSnapshotID": "csi://d/h"}}, {"status": {"phase": "Failed"}}]`))
	put("b-volumesnapshots.json.gz", list)
	ids, stored, err := read()
	require.NoError(t, err)
	require.True(t, stored)
	require.Equal(t, []string{"csi://d/h", ""}, ids)
	put("b-volumesnapshots.json.gz", list[:len(list)-4])
	_, _, err = read()
	require.ErrorContains(t, err, "backup b")

	require.NoError(t, s3.Kill())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = process.SnapshotIDs(ctx, "default", store, "b")
	require.Error(t, err)
}

// TestListOf knows the lists of snapshots by their keys alone.
func TestListOf(t *testing.T) {
	for _, prefix := range []string{"", "p"} {
		location := backups.At(nowhere{}, bucket, prefix)
		folder := map[string]string{"": "", "p": "p/"}[prefix]
		backup, is := location.ListOf(folder + "backups/b/b-volumesnapshots.json.gz")
		require.True(t, is)
		require.Equal(t, "b", backup)
		for _, other := range []string{
			"backups/b/velero-backup.json", "backups/b/c-volumesnapshots.json.gz", "backups/b-volumesnapshots.json.gz",
			"restores/b/b-volumesnapshots.json.gz", "q/backups/b/b-volumesnapshots.json.gz", "backups//-volumesnapshots.json.gz", "",
		} {
			_, is := location.ListOf(folder + other)
			require.False(t, is, other)
		}
	}
}

type nowhere struct{}

func (nowhere) GetObject(context.Context, string, string) (io.ReadCloser, error) { panic("not asked") }

func (nowhere) ListObjects(context.Context, string, string) ([]string, error) { panic("not asked") }

func (nowhere) ListCommonPrefixes(context.Context, string, string, string) ([]string, error) {
	panic("not asked")
}
