package pluginserver

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/grpc/status"
)

// TestFailurePlace looks at the place that Velero prints with an error.
func TestFailurePlace(t *testing.T) {
	t.Parallel()
	open := func(context.Context, map[string]string) (ObjectStore, error) {
		return nil, errors.New("no such location")
	}
	s := &objectStoreServer{stores: newInstance("example.com/plugin", Open[ObjectStore](open))}
	place := func(err error) string {
		require.Error(t, err)
		return status.Convert(err).Details()[0].(*generated.Stack).Frames[0].Function
	}
	_, err := s.Init(t.Context(), &generated.ObjectStoreInitRequest{Plugin: "example.com/plugin"})
	require.True(t, strings.HasSuffix(place(err), ".(*objectStoreServer).Init"), place(err))
	_, err = s.ListObjects(t.Context(), &generated.ListObjectsRequest{Plugin: "example.com/plugin"})
	require.True(t, strings.HasSuffix(place(err), ".(*objectStoreServer).ListObjects"), place(err))
	_, err = s.ListObjects(t.Context(), &generated.ListObjectsRequest{Plugin: "another"})
	require.True(t, strings.HasSuffix(place(err), ".(*objectStoreServer).ListObjects"), place(err))
}
