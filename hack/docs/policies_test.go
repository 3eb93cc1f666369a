package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// volumePolicies are those of a ConfigMap for --resource-policies-configmap, as far
// as the documents use them, by Velero 1.18's internal/resourcepolicies, which
// refuses fields that it does not know.
type volumePolicies struct {
	Version        string `json:"version"`
	VolumePolicies []struct {
		Conditions struct {
			StorageClass []string          `json:"storageClass"`
			PVCLabels    map[string]string `json:"pvcLabels"`
			NFS          *struct{}         `json:"nfs"`
			CSI          *struct {
				Driver string `json:"driver"`
			} `json:"csi"`
		} `json:"conditions"`
		Action struct {
			Type string `json:"type"`
		} `json:"action"`
	} `json:"volumePolicies"`
}

// TestVolumePolicies reads the policies in the documents strictly.
func TestVolumePolicies(t *testing.T) {
	seen := 0
	for _, b := range blocksOf(t, "yaml") {
		for _, o := range objects(t, b.where, b.text) {
			if text, found := o.Data["policy.yaml"]; found && o.Kind == "ConfigMap" {
				requirePolicies(t, b.where, text)
				seen++
			}
		}
	}
	require.Positive(t, seen)
}

func requirePolicies(t *testing.T, where, text string) {
	t.Helper()
	converted, err := yaml.ToJSON([]byte(text))
	require.NoError(t, err, where)
	decoder := json.NewDecoder(bytes.NewReader(converted))
	decoder.DisallowUnknownFields()
	var p volumePolicies
	require.NoError(t, decoder.Decode(&p), where)
	require.Equal(t, "v1", p.Version, where)
	require.NotEmpty(t, p.VolumePolicies, where)
	for _, policy := range p.VolumePolicies {
		require.True(t, slices.Contains([]string{"skip", "snapshot", "fs-backup"}, policy.Action.Type), "%s: %s", where, policy.Action.Type)
	}
}
