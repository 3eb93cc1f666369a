package pluginserver

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInstance(t *testing.T) {
	opened := 0
	i := newInstance("a/b", func(_ context.Context, config map[string]string) (string, error) {
		opened++
		if config["bad"] != "" {
			return "", errors.New("bad config")
		}
		return config["name"], nil
	})
	_, err := i.get("a/b")
	require.EqualError(t, err, "a/b was called before Init")

	first := map[string]string{"name": "first"}
	require.NoError(t, i.init(t.Context(), "a/b", first))
	first["name"] = "changed by the caller"
	require.NoError(t, i.init(t.Context(), "a/b", map[string]string{"name": "first"}))
	require.Equal(t, 1, opened, "the same config again opens nothing")
	current, err := i.get("a/b")
	require.NoError(t, err)
	require.Equal(t, "first", current)

	require.EqualError(t, i.init(t.Context(), "a/b", map[string]string{"bad": "yes"}), "bad config")
	_, err = i.get("a/b")
	require.EqualError(t, err, "a/b is not set up, since its last Init failed: bad config")

	require.NoError(t, i.init(t.Context(), "a/b", map[string]string{"name": "second"}))
	current, err = i.get("a/b")
	require.NoError(t, err)
	require.Equal(t, "second", current)

	require.ErrorContains(t, i.init(t.Context(), "c/d", nil), `no plugin "c/d" in this binary`)
	_, err = i.get("c/d")
	require.ErrorContains(t, err, `no plugin "c/d" in this binary`)
}
