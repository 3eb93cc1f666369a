package objectstore

import (
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/stretchr/testify/require"
)

// TestBothListings forces each version of the listing call on every server.
func TestBothListings(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer, testbed.RcloneServer, testbed.CephServer} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			testbed.RequirePart(t, kind.Part)
			real := start(t, testbed.S3Options{Server: kind})
			for version, want := range map[string]int{"1": 0, "2": 5} {
				behind, proxy := behindProxy(t, real)
				bucket := real.bucket(t)
				f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, map[string]string{"listObjectsVersion": version})}
				testPages(t, f)
				require.GreaterOrEqual(t, proxy.count("GET"), 5)
				if got := proxy.countWith("list-type=2"); want == 0 {
					require.Zero(t, got)
				} else {
					require.GreaterOrEqual(t, got, want)
				}
			}
		})
	}
}
