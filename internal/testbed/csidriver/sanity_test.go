package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/stretchr/testify/require"
)

const inSanity = "CSIDRIVER_TEST_SANITY" // the access type to run the suite with

var sanitySecrets = `
CreateVolumeSecret: {token: c}
DeleteVolumeSecret: {token: d}
CreateSnapshotSecret: {token: s}
DeleteSnapshotSecret: {token: ds}
ListSnapshotsSecret: {token: l}
`

var sanityFlags = map[string][]string{
	"mount": nil,
	"block": {
		"--topology", "topology.longshore.dev/zone=a", "--zones", "a,b", "--zonal-snapshots",
		"--require-secret", "create:token=c", "--require-secret", "delete:token=d",
		"--require-secret", "snapshot:token=s", "--require-secret", "deletesnapshot:token=ds",
		"--require-secret", "list:token=l",
	},
}

// TestSanity runs the csi-sanity suite once per set of flags, each time in a
// process of its own, since the suite can run but once in a process.
func TestSanity(t *testing.T) {
	if accessType := os.Getenv(inSanity); accessType != "" {
		runSanity(t, accessType)
		return
	}
	for accessType := range sanityFlags {
		t.Run(accessType, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSanity$", "-test.v")
			cmd.Env = append(os.Environ(), inSanity+"="+accessType)
			text, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", text)
			require.Regexp(t, regexp.MustCompile(`Ran [5-9]\d of \d+ Specs`), string(text))
		})
	}
}

func runSanity(t *testing.T, accessType string) {
	dir := shortDir(t)
	secrets := filepath.Join(dir, "secrets.yaml")
	write(t, secrets, sanitySecrets)
	driver := startDriver(t, t.TempDir(), sanityFlags[accessType]...)
	config := sanity.NewTestConfig()
	config.Address = "unix://" + driver.socket
	config.TestVolumeAccessType = accessType
	config.SecretsFile = secrets
	config.TargetPath = filepath.Join(dir, "target")
	config.StagingPath = filepath.Join(dir, "staging")
	sanity.Test(t, config)
	books := driver.books()
	require.Empty(t, books.Volumes)
	require.Empty(t, books.Snapshots)
	require.Empty(t, books.Groups)
	require.Empty(t, books.Leftovers)
}
