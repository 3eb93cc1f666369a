package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	veleroplugin "github.com/vmware-tanzu/velero/pkg/plugin/velero"
	"golang.org/x/sync/errgroup"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	manyDownloads = 1000
	// downloadsMemory bounds the plugin's memory, in bytes, whatever number of
	// downloads Velero asks for at once.
	downloadsMemory = 128 << 20
)

// TestManyDownloads opens many downloads before it reads the first, and then
// reads all at once.
func TestManyDownloads(t *testing.T) {
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Buckets: []string{pluginBucket}})
	require.NoError(t, err)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", s3.CredentialsFile)
	program := pluginBinary(t)
	store := openLocation(t, newVeleroClient(t, program), s3)
	body := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	require.NoError(t, store.PutObject(pluginBucket, "object", bytes.NewReader(body)))

	var all errgroup.Group
	for _, reader := range openDownloads(t, store) {
		all.Go(func() error {
			defer reader.Close()
			content, err := io.ReadAll(reader)
			if err == nil && !bytes.Equal(body, content) {
				err = fmt.Errorf("%d bytes arrived, and not those that were stored", len(content))
			}
			return err
		})
	}
	require.NoError(t, all.Wait())
	require.Less(t, peakMemory(t, childProcesses(t, program)[0]), downloadsMemory)
}

func openDownloads(t *testing.T, store veleroplugin.ObjectStore) []io.ReadCloser {
	t.Helper()
	var open []io.ReadCloser
	for range manyDownloads {
		reader, err := store.GetObject(pluginBucket, "object")
		require.NoError(t, err)
		open = append(open, reader)
	}
	return open
}

// peakMemory is the most memory, in bytes, that a process has had.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, found)
	kilobytes, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	t.Logf("peak: %.1f MB", float64(kilobytes)*1024/1e6)
	return kilobytes * 1024
}
