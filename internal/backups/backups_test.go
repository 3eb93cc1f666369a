package backups

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
)

func TestPlaces(t *testing.T) {
	for path, want := range map[string]Place{
		"resources/pods/namespaces/shop/web.json":                {Resource: "pods", Namespace: "shop", Name: "web"},
		"resources/deployments.apps/v1/namespaces/shop/web.json": {Resource: "deployments.apps", Version: "v1", Namespace: "shop", Name: "web"},
		"resources/nodes/v1-preferredversion/cluster/a.b:c.json": {Resource: "nodes", Version: "v1", Preferred: true, Name: "a.b:c"},
		"resources/namespaces/cluster/namespaces.json":           {Resource: "namespaces", Name: "namespaces"},
	} {
		got, ok := ParsePlace(path)
		require.True(t, ok, path)
		require.Equal(t, want, got)
	}
	for _, path := range []string{
		"", "metadata/version", "resources/pods/web.json", "resources/pods/namespaces/web.json", "resources/pods/v1/namespaces/web.json",
		"resources/pods/cluster/a/b.json", "resources/pods/cluster/web.yaml", "../resources/pods/cluster/web.json", "resources/pods/v1/v2/cluster/web.json",
	} {
		_, ok := ParsePlace(path)
		require.False(t, ok, path)
	}
}

func TestMissingNames(t *testing.T) {
	names := []string{"nightly-1", "nightly-2", "weekly-1", "yearly"}
	require.EqualError(t, missing("backup", "nighty-1", names), `there is no backup "nighty-1"; did you mean nightly-1, nightly-2?`)
	require.EqualError(t, missing("backup", "weekly", names), `there is no backup "weekly"; did you mean weekly-1?`)
	require.EqualError(t, missing("backup", "else", names), `there is no backup "else" among the 4 of the location`)
	require.EqualError(t, missing("restore", "x", nil), `there is no restore "x"; the location has none`)
}

// TestDamageIsToldFromTheStorage: what the storage fails to deliver is no damage,
// whatever a reader makes of it.
func TestDamageIsToldFromTheStorage(t *testing.T) {
	list := backuptest.Gzip(t, []byte(`[]`))
	var into []struct{}
	read := func(r io.Reader) error {
		return named("list", io.NopCloser(r), func(r io.Reader) error { return decodeGzip(r, &into) })
	}
	require.NoError(t, read(bytes.NewReader(list)))
	require.NoError(t, read(iotest.OneByteReader(bytes.NewReader(list))))

	broken := errors.New("broken off")
	err := read(io.MultiReader(bytes.NewReader(list[:12]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.False(t, IsDamage(err))
	require.EqualError(t, err, "list: broken off")

	err = read(bytes.NewReader(list[:12]))
	require.True(t, IsDamage(err), err)
	require.EqualError(t, err, "list: it ends too early")
}

// TestLimits: nothing that unfolds beyond measure is held.
func TestLimits(t *testing.T) {
	var into any
	err := decode(atMost(io.MultiReader(strings.NewReader(`"`), &endless{}), 1<<20), &into)
	require.True(t, IsDamage(err), err)
	require.EqualError(t, err, "it holds more than 1 MiB")
}

// endless gives the letter x for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
