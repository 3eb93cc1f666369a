package upload

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBodyOfEndedUpload: the reason why an upload has ended may wrap io.EOF, and is
// not the end of its body.
func TestBodyOfEndedUpload(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("the caller has left: %w", io.EOF))
	b := body{from: strings.NewReader("body")}
	_, _, err := b.fill(ctx, make([]byte, 10))
	require.ErrorContains(t, err, "the caller has left")
	_, err = b.peek(ctx)
	require.ErrorContains(t, err, "the caller has left")
}
