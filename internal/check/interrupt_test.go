package check

import (
	"context"
	"testing"

	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// impatient is an observer who interrupts the check at a step.
type impatient struct {
	at     string
	cancel context.CancelFunc
}

func (i impatient) Begin(step string) {
	if step == i.at {
		i.cancel()
	}
}

func (impatient) End(Result) {}

// TestInterrupted: what a check has made is removed also when it is interrupted.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Buckets: []string{"bucket"}})
	require.NoError(t, err)
	log, _ := test.NewNullLogger()
	for _, step := range []string{"get", "get a range", "delete"} {
		ctx, cancel := context.WithCancel(t.Context())
		l := FromFlags(BackupStorage, map[string]string{"bucket": "bucket", "s3Url": s3.Endpoint})
		l.CredentialsFile = s3.CredentialsFile
		results := ObjectStore(ctx, l, log, impatient{step, cancel})
		require.False(t, Works(results))
		last := results[len(results)-1]
		require.Equal(t, "clean up", last.Step)
		require.Equal(t, OK, last.Outcome, last.Detail)
		keys, err := s3.Keys(t.Context(), "bucket", "")
		require.NoError(t, err)
		require.Empty(t, keys, step)
	}
}
