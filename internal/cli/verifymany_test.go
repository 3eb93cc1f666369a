package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestVerifyMany has the built program verify all of 1000 backups without their archives,
// in a memory that does not grow with them. It tells the time, which is the machine's.
func TestVerifyMany(t *testing.T) {
	program, err := testbed.Plugin.Path(t.Context()) // before this test has a home of its own
	require.NoError(t, err)
	s := newStorage(t, testbed.S3Options{})
	const count, most = 1000, 64 << 10 // KiB; about 30 MiB are needed
	s.storeMany(count)
	began := time.Now()
	out, peak := runPeak(t, program, append([]string{"verify", "--all", "--no-cluster", "--no-archive"}, s.at("velero")...)...)
	t.Logf("%d backups verified in %s with %d MiB of memory at most", count, time.Since(began).Round(100*time.Millisecond), peak>>10)
	require.Contains(t, out, "All that was read is whole")
	require.Contains(t, out, fmt.Sprintf("backup nightly-%04d\n", count-1))
	require.NotZero(t, peak)
	require.Less(t, peak, most)
}

// storeMany stores backups that differ in their names alone.
func (s *storage) storeMany(count int) {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	running, ctx := errgroup.WithContext(s.Context())
	running.SetLimit(16)
	for i := range count {
		for key, content := range backuptest.New(fmt.Sprintf("nightly-%04d", i)).Objects(s.T) {
			running.Go(func() error {
				_, err := client.Client.PutObject(ctx, bucket, "velero/"+key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
				return err
			})
		}
	}
	require.NoError(s, running.Wait())
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// runPeak runs a program and returns what it wrote and its greatest memory in KiB, as
// the kernel last told it.
func runPeak(t *testing.T, program string, args ...string) (out string, peak int) {
	t.Helper()
	var written bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &written, &written
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			require.NoError(t, err, written.String())
			return written.String(), peak
		case <-time.After(50 * time.Millisecond):
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // it may just have ended
			if match := peakLine.FindSubmatch(status); match != nil {
				peak, _ = strconv.Atoi(string(match[1]))
			}
		}
	}
}
