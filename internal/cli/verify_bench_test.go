package cli

import (
	"bytes"
	"context"
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

// BenchmarkVerifyAll has the built program verify all of 1000 backups, without their
// archives and with them, and tells the time and the most memory that it took:
//
//	go test -run ^$ -bench VerifyAll -benchtime 1x ./internal/cli
func BenchmarkVerifyAll(b *testing.B) {
	s3, err := testbed.ForTest(b).StartS3(b.Context(), testbed.S3Options{Buckets: []string{bucket}})
	require.NoError(b, err)
	program, err := testbed.Plugin.Path(b.Context())
	require.NoError(b, err)
	const count = 1000
	storeMany(b, s3, count)
	for name, more := range map[string][]string{"metadata": {"--no-archive"}, "archives": nil} {
		b.Run(name, func(b *testing.B) {
			most := 0
			for range b.N {
				args := append([]string{"verify", "--all", "--no-cluster", "--bucket", bucket, "--config", "s3Url=" + s3.Endpoint, "--credentials-file", s3.CredentialsFile}, more...)
				out, peak := runPeak(b, program, args...)
				require.Contains(b, out, "All that was read is whole")
				require.Contains(b, out, fmt.Sprintf("backup nightly-%04d\n", count-1))
				most = max(most, peak)
			}
			b.ReportMetric(float64(most)/1024, "MiB")
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/run")
		})
	}
}

func storeMany(b *testing.B, s3 *testbed.S3, count int) {
	b.Helper()
	client, err := s3.Client()
	require.NoError(b, err)
	running, ctx := errgroup.WithContext(context.Background())
	running.SetLimit(16)
	for i := range count {
		for key, content := range backuptest.New(fmt.Sprintf("nightly-%04d", i)).Objects(b) {
			running.Go(func() error {
				_, err := client.Client.PutObject(ctx, bucket, key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
				return err
			})
		}
	}
	require.NoError(b, running.Wait())
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// runPeak runs a program and returns what it wrote and its greatest memory in KiB, as
// the kernel last told it.
func runPeak(b *testing.B, program string, args ...string) (out string, peak int) {
	b.Helper()
	var written bytes.Buffer
	cmd := exec.CommandContext(b.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &written, &written
	require.NoError(b, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			require.NoError(b, err, written.String())
			return written.String(), peak
		case <-time.After(50 * time.Millisecond):
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // it may just have ended
			if match := peakLine.FindSubmatch(status); match != nil {
				peak, _ = strconv.Atoi(string(match[1]))
			}
		}
	}
}
