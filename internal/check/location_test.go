package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/longshore-dev/velero-plugin/snapshotter"
)

func TestReadFile(t *testing.T) {
	const text = `
apiVersion: v1
kind: List
---
kind: BackupStorageLocation
metadata: {name: first}
spec:
  provider: longshore.dev/s3-csi
  accessMode: ReadOnly
  credential: {name: s, key: k}
  objectStorage: {bucket: b/, prefix: /p/, caCert: UEVN}
  config: {region: r, bucket: other}
---
kind: BackupStorageLocation
metadata: {name: second, namespace: velero}
spec: {objectStorage: {bucket: c}, config: {maxRetries: 3}}
`
	l, err := ReadFile(strings.NewReader(text), BackupStorage, "")
	require.NoError(t, err)
	require.Equal(t, "BackupStorageLocation first", l.Subject)
	require.True(t, l.ReadOnly)
	require.Equal(t, map[string]string{"bucket": "b", "prefix": "p", "caCert": "PEM", "region": "r"}, l.ObjectStoreConfig(), "as Velero does it")
	require.ErrorContains(t, l.Complete(), "--credentials-file")

	_, err = ReadFile(strings.NewReader(text), BackupStorage, "second")
	require.ErrorContains(t, err, "BackupStorageLocation second")
	require.ErrorContains(t, err, "put quotes around numbers")
	_, err = ReadFile(strings.NewReader(text), VolumeSnapshot, "")
	require.ErrorContains(t, err, "no VolumeSnapshotLocation in it")
}

func TestFlags(t *testing.T) {
	pairs, err := ParsePairs([]string{"bucket=b", "tagging=a=b&c=d", "region="})
	require.NoError(t, err)
	l := FromFlags(BackupStorage, pairs)
	require.Equal(t, "b", l.Bucket)
	require.Equal(t, map[string]string{"tagging": "a=b&c=d", "region": ""}, l.Config)
	_, err = ParsePairs([]string{"region"})
	require.ErrorContains(t, err, "key=value")
}

func TestPick(t *testing.T) {
	named := func(names ...string) []object {
		list := make([]object, len(names))
		for i, name := range names {
			list[i].Metadata.Name = name
		}
		return list
	}
	found, err := pick(named("only"), "")
	require.NoError(t, err)
	require.Equal(t, "only", found.Metadata.Name)
	found, err = pick(named("a", "default"), "")
	require.NoError(t, err)
	require.Equal(t, "default", found.Metadata.Name)
	chosen := named("a", "default", "primary")
	chosen[2].Spec.Default = true
	found, err = pick(chosen, "")
	require.NoError(t, err)
	require.Equal(t, "primary", found.Metadata.Name, "spec.default counts, as for Velero")
	_, err = pick(named("a", "b"), "")
	require.EqualError(t, err, `there is no "default", only a, b`)
	_, err = pick(named("a", "b"), "c")
	require.EqualError(t, err, `there is no "c", only a, b`)
	_, err = pick(nil, "")
	require.EqualError(t, err, "there is none")
}

func TestStatement(t *testing.T) {
	require.Equal(t, `{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/p/*"]}`,
		statement("b", "/p/", "s3:GetObject", "s3:ListBucket"))
	require.Equal(t, `{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::b/*"]}`, statement("b", "", "s3:PutObject"))
}

func TestSignOfLife(t *testing.T) {
	var l lease
	l.Metadata.Namespace, l.Metadata.Name = "kube-system", "a-b-c"
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = "x", 15, time.Now()
	require.Equal(t, "a-b-c", leaseName("a.b/c"))
	alive := running{leases: []lease{l}}
	detail, err := alive.signOfLife("program", "a-b-c")
	require.NoError(t, err)
	require.Contains(t, detail, "kube-system/a-b-c")

	var w workload
	w.Spec.Template.Spec.Containers = []container{{Image: "registry/sig-storage/program:v1"}}
	idle := running{workloads: []workload{w}}
	_, err = idle.signOfLife("program", "a-b-c")
	require.ErrorContains(t, err, "not ready")
	idle.workloads[0].Status.ReadyReplicas = 1
	detail, err = idle.signOfLife("program", "a-b-c")
	require.NoError(t, err)
	require.Contains(t, detail, "ready in")
}

// TestRights: what is asked for is what docs/rbac.yaml grants, no more, no less,
// and in the same place.
func TestRights(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "docs", "rbac.yaml"))
	require.NoError(t, err)
	var granted, asked []string
	for document := range strings.SplitSeq(string(manifest), "\n---\n") {
		var role struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Rules []struct {
				APIGroups     []string `json:"apiGroups"`
				Resources     []string `json:"resources"`
				ResourceNames []string `json:"resourceNames"`
				Verbs         []string `json:"verbs"`
			} `json:"rules"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &role))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				granted = append(granted, fmt.Sprintf("%s %s: %s/%s %s %s", role.Kind, role.Metadata.Name,
					rule.APIGroups[0], resource, strings.Join(rule.ResourceNames, ","), strings.Join(rule.Verbs, ",")))
			}
		}
	}
	roles := map[snapshotter.Where]string{
		snapshotter.Everywhere: "ClusterRole longshore-snapshotter",
		snapshotter.InVelero:   "Role longshore-snapshotter",
		snapshotter.InStaging:  "Role longshore-staging",
		snapshotter.InDefault:  "Role longshore-events",
	}
	for _, r := range (snapshotter.Settings{SigningKeySecret: "longshore-signing/keys"}).Rights() {
		asked = append(asked, fmt.Sprintf("%s: %s/%s %s %s", roles[r.Namespace],
			r.Group, strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/"), r.Name, strings.Join(r.Verbs, ",")))
	}
	asked = append(asked, "Role longshore-objectstore: /secrets longshore-encryption get") // of encryptionIdentitySecret
	require.ElementsMatch(t, granted, asked)
}
