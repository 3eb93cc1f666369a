package testbed

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatrixVariable(t *testing.T) {
	m, err := parseMatrix("")
	require.NoError(t, err)
	require.Equal(t, ClassImmediate, m.class)
	require.Equal(t, "hack/tools/kubernetes", m.editions["snapshotter"].module)
	m, err = parseMatrix("kubernetes=1.31 snapshotter=7.0.2 velero=1.14 metadata=yes class=hostpath-wait")
	require.NoError(t, err)
	require.Equal(t, "1.31.14", m.editions["kubernetes"].Version)
	require.Equal(t, "hack/tools/snapshotter-7.0", m.editions["snapshotter"].module)
	require.Equal(t, editions["provisioner"][0], m.editions["provisioner"])
	require.Equal(t, "1.14.1", m.editions["velero"].Version)
	require.True(t, m.metadata)
	require.Equal(t, ClassWaitForFirstConsumer, m.class)

	for text, want := range map[string]string{
		"kubernetes=1.3":   `"kubernetes=1.3": the versions of kubernetes are 1.36.3, 1.31.14`,
		"velero":           "the versions of velero are",
		"sidecar=1":        "there are kubernetes, provisioner, snapshotter, velero, metadata and class",
		"metadata=maybe":   "metadata is yes or left out",
		"class=gp3":        "class is one of hostpath, ",
		"velero=1.14 oops": `"oops"`,
	} {
		_, err := parseMatrix(text)
		require.ErrorContains(t, err, MatrixVariable)
		require.ErrorContains(t, err, want)
	}
}

// TestMatrixChoosesParts asks a test program of another environment.
func TestMatrixChoosesParts(t *testing.T) {
	if os.Getenv(MatrixVariable) == "snapshotter=7.0.2" {
		for _, p := range []Part{CSISnapshotter, SnapshotController} {
			version, err := p.Version()
			require.NoError(t, err)
			require.Equal(t, "v7.0.2", version)
		}
		return
	}
	ask := func(matrix string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMatrixChoosesParts$")
		cmd.Env = append(os.Environ(), MatrixVariable+"="+matrix)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := ask("snapshotter=7.0.2")
	require.NoError(t, err, out)
}

func TestEditionsAreWhatTheirModulesPin(t *testing.T) {
	root, err := repoRoot()
	require.NoError(t, err)
	modules := map[string]string{
		"kubernetes": "k8s.io/kubernetes", "velero": "github.com/vmware-tanzu/velero",
		"snapshotter": "github.com/kubernetes-csi/external-snapshotter/", "provisioner": "github.com/kubernetes-csi/external-provisioner/",
	}
	for kind, all := range editions {
		for _, e := range all {
			version, err := pinnedVersion(root, e.module, modules[kind]+e.major)
			require.NoError(t, err)
			require.Equal(t, "v"+e.Version, version)
		}
	}
}
