package objectstore

import (
	"bytes"
	"context"
	"crypto/fips140"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// fipsVariable makes the test binary a program that stores and reads objects.
const fipsVariable = "LONGSHORE_TEST_FIPS"

// TestOnlyFIPS runs with GODEBUG=fips140=only, where MD5 panics: uploads are
// proven without it.
func TestOnlyFIPS(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", fmt.Sprintf("%s=%s %s %s", fipsVariable, real.endpoint, real.bucket(t), credentialsFile(t, real.access, real.secret)))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// moveWithFIPS stores and reads a small and a large object.
func moveWithFIPS(ctx context.Context, order string) error {
	var endpoint, bucket, file string
	if _, err := fmt.Sscan(order, &endpoint, &bucket, &file); err != nil {
		return err
	}
	if !fips140.Enabled() {
		return fmt.Errorf("FIPS 140 mode is off")
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := Open(ctx, log, map[string]string{"s3Url": endpoint, "bucket": bucket, "credentialsFile": file, "verifyDownloads": "always"})
	if err != nil {
		return err
	}
	for i, size := range []int{0, 1000, 200_000, 11 << 20} {
		data := content(size, uint64(i))
		if err := s.PutObject(ctx, bucket, "key", bytes.NewReader(data)); err != nil {
			return err
		}
		body, err := s.GetObject(ctx, bucket, "key")
		if err != nil {
			return err
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, data) {
			return fmt.Errorf("%d bytes were read, and %d stored: %w", len(got), len(data), err)
		}
	}
	if _, err := s.ListObjects(ctx, bucket, ""); err != nil {
		return err
	}
	return s.DeleteObject(ctx, bucket, "key")
}
