package snapshotter

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

const signingSecrets = `
apiVersion: v1
kind: Secret
metadata: {name: longshore-signing, namespace: velero}
stringData:
  old: ` + signingKey + `
  new: 4f1de0c8a92b7735649c0b1e7d3f8a50
  both: |
    4f1de0c8a92b7735649c0b1e7d3f8a50
    ` + signingKey + `
`

// TestClusterCraftedIDs hands over IDs as whoever writes to the bucket may make
// them: of a snapshot of another driver, with a secret that is nobody's business,
// changed, or without the signature that is wanted.
func TestClusterCraftedIDs(t *testing.T) {
	b := onCluster(t, nil)
	require.NoError(t, b.Apply(t.Context(), signingSecrets))
	t.Cleanup(func() {
		require.NoError(t, b.Kube.CoreV1().Secrets("velero").Delete(b.background(), "longshore-signing", metav1.DeleteOptions{}))
	})
	signing := map[string]string{"signingKeySecret": "longshore-signing/old"}
	strict := map[string]string{"signingKeySecret": "longshore-signing/old", "requireSignature": "true"}
	renewed := map[string]string{"signingKeySecret": "longshore-signing/new"}
	rotated := map[string]string{"signingKeySecret": "longshore-signing/both", "requireSignature": "true"}

	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	b.Snapshotter = b.open(signing)
	signed := b.snapshotOf(pv, "b1")
	b.onlySnapshots(before, 1)
	id, err := ids.ParseSnapshotID(signed)
	require.NoError(t, err)
	foreign := id
	foreign.DeleteSecret = ids.SecretRef{Namespace: "kube-system", Name: "root"}

	for name, c := range map[string]struct {
		id     string
		config map[string]string
		words  string
		only   string // the call that it is about, both if empty
	}{
		"another driver":     {id: id.String(), config: map[string]string{"drivers": "ebs.csi.aws.com"}, words: "driver " + testbed.DriverName + " is not one of those that this location serves"},
		"another's secret":   {id: foreign.String(), words: "names the secret kube-system/root", only: "delete"},
		"not signed":         {id: id.String(), config: strict, words: "is not signed"},
		"changed":            {id: strings.Replace(signed, "mode=Filesystem", "mode=Block", 1), config: signing, words: "its signature does not fit"},
		"by another key":     {id: signed, config: renewed, words: "is not among those that the setting signingKeySecret names"},
		"the Secret is gone": {id: signed, config: map[string]string{"signingKeySecret": "gone/keys"}, words: "Secret velero/gone"},
	} {
		t.Run(name, func(t *testing.T) {
			s := b.open(c.config)
			calls := map[string]func() error{
				"delete": func() error { return s.DeleteSnapshot(t.Context(), c.id) },
				"restore": func() error {
					_, err := s.CreateVolumeFromSnapshot(t.Context(), c.id, pv.Spec.StorageClassName, "", nil)
					return err
				},
			}
			for call, try := range calls {
				if c.only != "" && c.only != call {
					continue
				}
				began := time.Now()
				require.ErrorContains(t, try(), c.words, call)
				require.Less(t, time.Since(began), 5*time.Second)
			}
			b.onlySnapshots(before, 1)
		})
	}

	_, content := b.restoreAs(b.open(rotated), signed, pv, "restored")
	require.Equal(t, "first", content, "a former key is accepted")
	require.NoError(t, b.open(rotated).DeleteSnapshot(t.Context(), signed))
	b.soonOnlySnapshots(before, 0)
}
