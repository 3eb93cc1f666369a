package upload

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

func TestSizes(t *testing.T) {
	growing := sizesFor(&Settings{}, account.Endpoint{})
	total := int64(0)
	for n := 1; n <= MaxParts; n++ {
		size := int64(growing.of(n))
		require.GreaterOrEqual(t, size, int64(MinPartSize))
		require.LessOrEqual(t, size, int64(maxPartSize))
		total += size
		if n == 5000 {
			require.Equal(t, 346000*settings.MiB, settings.Bytes(total), "up to here no part is larger than 256MiB")
		}
	}
	require.GreaterOrEqual(t, total, int64(maxObjectSize))
	r2 := (&account.Settings{S3URL: "https://abc.r2.cloudflarestorage.com"}).Endpoint()
	require.Equal(t, sizesFor(&Settings{}, r2).of(1), sizesFor(&Settings{}, r2).of(9999))
	fixed := sizesFor(&Settings{PartSize: 64 * settings.MiB}, r2)
	require.Equal(t, 64*settings.MiB, settings.Bytes(fixed.of(9999)))
	require.Equal(t, 625*settings.GiB, fixed.capacity())
}

// TestTooLarge is for bodies beyond what S3 stores, which no test can send.
func TestTooLarge(t *testing.T) {
	for want, s := range map[string]sizes{
		"5TiB, the most that S3 stores in one object":         {},
		"which is 10000 parts of 5MiB; set a larger partSize": {fixed: MinPartSize},
	} {
		_, _, err := (&upload{Uploader: &Uploader{sizes: s}}).next(t.Context(), MaxParts+1)
		require.Equal(t, s3err.Invalid, s3err.KindOf(err))
		require.ErrorContains(t, err, want)
	}
}
