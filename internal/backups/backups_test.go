package backups

import (
	"bytes"
	"errors"
	"fmt"
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

	for _, broken := range []error{errors.New("broken off"), fmt.Errorf("broken off: %w", io.EOF)} {
		for _, after := range []int{0, 12, len(list)} {
			err := read(io.MultiReader(bytes.NewReader(list[:after]), iotest.ErrReader(broken)))
			require.ErrorIs(t, err, broken)
			require.False(t, IsDamage(err))
			require.EqualError(t, err, "list: "+broken.Error())
		}
	}

	err := read(bytes.NewReader(list[:12]))
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

// TestEntries: a list may hold so many entries as a backup has, however short they are.
func TestEntries(t *testing.T) {
	list := func(entry string, n int) string { return "[" + strings.Repeat(entry+",", n-1) + entry + "]" }
	read := func(text string, into any) error {
		return decodeGzip(bytes.NewReader(backuptest.Gzip(t, []byte(text))), into)
	}
	const few, many = 1000, 2 << 20
	var snapshots []Snapshot
	require.NoError(t, read(list("{}", few), &snapshots))
	require.Len(t, snapshots, few)
	var items ResourceList
	require.NoError(t, read(`{"v1/Pod":`+list(`"shop/a"`, 1_000_000)+"}", &items))
	require.Len(t, items["v1/Pod"], 1_000_000)
	var results Results
	message := `a \"message\"` + strings.Repeat(" [1,2,3", many) + ` \\`
	require.NoError(t, read(`{"errors":{"velero":["`+message+`","another"]}}`, &results))
	require.Len(t, results.Errors.Velero, 2)

	for name, text := range map[string]string{
		"entries": list("{}", many), "items": `{"v1/Pod":` + list(`""`, many) + "}", "messages": `{"errors":{"velero":` + list(`""`, many) + "}}",
		"lists": `{` + strings.Repeat(`"v1/Pod":[],`, many) + `"v1/Pod":[]}`, "nesting": strings.Repeat(`[`, many),
	} {
		err := read(text, new(any))
		require.True(t, IsDamage(err), name)
		if name != "nesting" { // which JSON itself bounds
			require.EqualError(t, err, "it has more than a million entries", name)
		}
	}
}

// endless gives the letter x for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
