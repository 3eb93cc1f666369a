package testbed

import (
	"bytes"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestCephServes(t *testing.T) {
	realParts(t)
	RequirePart(t, Ceph)
	for _, tls := range []bool{false, true} {
		t.Run(scheme(tls), func(t *testing.T) {
			s3, err := ForTest(t).StartS3(t.Context(), S3Options{Server: CephServer, TLS: tls, Buckets: []string{"backups"}})
			require.NoError(t, err)
			client, err := s3.Client()
			require.NoError(t, err)
			_, err = client.Client.PutObject(t.Context(), "backups", "a/b", bytes.NewReader([]byte("text")), 4, minio.PutObjectOptions{})
			require.NoError(t, err)
			require.NoError(t, s3.Restart(t.Context()))
			keys, err := s3.Keys(t.Context(), "backups", "")
			require.NoError(t, err)
			require.Equal(t, []string{"a/b"}, keys)
		})
	}
}

// TestPartOfAnotherSystem has a part whose release nobody runs.
func TestPartOfAnotherSystem(t *testing.T) {
	other := Part{Name: "other", make: fetchDebian, debian: &debianPart{release: "none", title: "Debian 99 (none)"}}
	_, err := other.Path(t.Context())
	require.ErrorContains(t, err, "other cannot be had here: it comes as Debian packages of Debian 99 (none), and this is ")
	var progress bytes.Buffer
	require.NoError(t, Build(t.Context(), &progress, other))
	require.Contains(t, progress.String(), "[1/1] other … left out: other cannot be had here")
	there, err := other.Cached()
	require.NoError(t, err)
	require.False(t, there)
}

// TestDebianVersion refuses packages that the testbed was not tried with.
func TestDebianVersion(t *testing.T) {
	debs := []string{"/debs/zlib1g_1%3a1.2_amd64.deb", "/debs/radosgw_17.2.7-3_amd64.deb"}
	err := checkDebianVersion(Ceph, debs)
	require.ErrorContains(t, err, "gives version 17.2.7-3, and 16.2.15 is the one the testbed knows")
	require.NoError(t, checkDebianVersion(Ceph, []string{"/debs/radosgw_16.2.15+ds-0+deb12u2_amd64.deb"}))
}
