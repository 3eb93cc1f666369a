package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/repository/config"
)

// TestFileSystemBackupKnowsTheLocation asks Velero's own code what its kopia and
// restic repositories make of a location of ours: it takes a provider that it
// does not know for S3 when the config has s3Url, and for nothing otherwise.
func TestFileSystemBackupKnowsTheLocation(t *testing.T) {
	const provider = "longshore.dev/s3-csi"
	with := map[string]string{"s3Url": "http://minio.minio.svc:9000", "region": "us-east-1"}
	require.Equal(t, config.AWSBackend, config.GetBackendType(provider, with))
	require.NotEqual(t, config.AWSBackend, config.GetBackendType(provider, map[string]string{"region": "us-east-1"}))
	location := &velerov1.BackupStorageLocation{Spec: velerov1.BackupStorageLocationSpec{
		Provider: provider,
		Config:   with,
		StorageType: velerov1.StorageType{
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "velero", Prefix: "cluster"},
		},
	}}
	identifier, err := config.GetRepoIdentifier(location, "app")
	require.NoError(t, err)
	require.Equal(t, "s3:http://minio.minio.svc:9000/velero/cluster/restic/app", identifier)
}
