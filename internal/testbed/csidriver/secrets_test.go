package main

import (
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestSecrets(t *testing.T) {
	const right, wrong = "hunter2", "letmein"
	driver := startDriver(t, t.TempDir(),
		"--require-secret", "create:token="+right, "--require-secret", "create:user=me",
		"--require-secret", "delete:token="+right, "--require-secret", "snapshot:token="+right,
		"--require-secret", "deletesnapshot:token="+right, "--require-secret", "list:token="+right)
	vol := driver.mustCreateVolume("pvc-1", func(req *csi.CreateVolumeRequest) {
		req.Secrets = map[string]string{"token": right, "user": "me"}
	})
	calls := map[string]func(secrets map[string]string) error{
		"CreateVolume": func(secrets map[string]string) error {
			_, err := driver.createVolume("pvc-2", func(req *csi.CreateVolumeRequest) { req.Secrets = secrets })
			return err
		},
		"CreateSnapshot": func(secrets map[string]string) error {
			_, err := driver.CreateSnapshot(deadline(t), &csi.CreateSnapshotRequest{Name: "snap", SourceVolumeId: vol.VolumeId, Secrets: secrets})
			return err
		},
		"ListSnapshots": func(secrets map[string]string) error {
			_, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{Secrets: secrets})
			return err
		},
		"DeleteSnapshot": func(secrets map[string]string) error {
			_, err := driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: "snap-0000000000000000", Secrets: secrets})
			return err
		},
		"DeleteVolume": func(secrets map[string]string) error {
			_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: vol.VolumeId, Secrets: secrets})
			return err
		},
	}
	for method, call := range calls {
		requireCode(t, codes.Unauthenticated, call(nil), method, `"token" is missing`)
		requireCode(t, codes.Unauthenticated, call(map[string]string{"token": wrong, "user": "me"}), method, `"token" is wrong`)
		require.DirExists(t, driver.volumeDir(vol.VolumeId))
	}
	requireCode(t, codes.Unauthenticated, calls["CreateVolume"](map[string]string{"token": right}), `"user" is missing`)
	for _, method := range []string{"CreateVolume", "CreateSnapshot", "ListSnapshots", "DeleteSnapshot", "DeleteVolume"} {
		require.NoError(t, calls[method](map[string]string{"token": right, "user": "me"}), method)
	}

	log := read(t, filepath.Join(driver.data, "calls.log"))
	require.Contains(t, log, `"secrets":["token","user"]`)
	for _, secret := range []string{right, wrong} {
		require.NotContains(t, log, secret)
		require.NotContains(t, driver.stderr.String(), secret)
	}
}
