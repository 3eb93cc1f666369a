package drill

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// TestPollInTime wants a wait that ends with --timeout to say what it waited for, and
// not to count as an interruption.
func TestPollInTime(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errTooLong)
	defer cancel()
	run := check.NewRun(check.Silent{})
	require.False(t, run.Step(ctx, "claims", func(ctx context.Context) (string, error) {
		return "", inTime(ctx, poll(ctx, "the claims", func(context.Context) (bool, string, error) { return false, "claim a is Pending", nil }), "look")
	}))
	require.Equal(t, "gave up waiting for the claims: the time of --timeout is over; last seen: claim a is Pending", run.Results[0].Detail)
	require.Equal(t, "look", run.Results[0].Hint)

	gone, interrupt := context.WithCancel(t.Context())
	interrupt()
	err := inTime(gone, poll(gone, "the claims", func(ctx context.Context) (bool, string, error) { return false, "", ctx.Err() }), "look")
	require.False(t, check.IsFinding(err))
	require.ErrorIs(t, err, context.Canceled)

	no := errors.New("no")
	require.ErrorIs(t, poll(t.Context(), "it", func(context.Context) (bool, string, error) { return false, "", no }), no)
	require.NoError(t, poll(t.Context(), "it", func(context.Context) (bool, string, error) { return true, "", nil }))
}

func TestPathOf(t *testing.T) {
	require.Equal(t, "/api/v1/namespaces/shop/configmaps/a", pathOf("v1", "shop", "configmaps", "a"))
	require.Equal(t, "/apis/apps/v1/namespaces/shop/deployments", pathOf("apps/v1", "shop", "deployments", ""))
	require.Equal(t, "/apis/apps/v1/namespaces/shop/deployments/..%2Fx", pathOf("apps/v1", "shop", "deployments", "../x"))
}
