package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// object is what the tests read of a Kubernetes object.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Provider      string            `json:"provider"`
		Config        map[string]string `json:"config"`
		ObjectStorage struct {
			Bucket string `json:"bucket"`
			Prefix string `json:"prefix"`
			CACert string `json:"caCert"`
		} `json:"objectStorage"`
	} `json:"spec"`
	Data   map[string]string `json:"data"`
	Config map[string]string `json:"config"` // of a fragment

	text string
}

// objects reads the documents of a YAML text.
func objects(t *testing.T, where, text string) []object {
	t.Helper()
	var all []object
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, where)
		var o object
		require.NoError(t, json.Unmarshal(raw, &o), where)
		o.text = string(raw)
		all = append(all, o)
	}
}

// examples are the YAML files of docs, by their paths.
func examples(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "docs", "examples", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	files := map[string]string{}
	for _, path := range append(found, filepath.Join(root, "docs", "rbac.yaml"), filepath.Join(root, "docs", "admission.yaml")) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		if filepath.Base(path) != "helm-values.yaml" {
			files[path] = string(content)
		}
	}
	return files
}

// TestSettings hands every config in the documents and examples to the plugin.
func TestSettings(t *testing.T) {
	for _, b := range blocksOf(t, "yaml") {
		for _, o := range objects(t, b.where, b.text) {
			requireSettings(t, b, o)
		}
	}
	for path, text := range examples(t) {
		for _, o := range objects(t, path, text) {
			requireSettings(t, block{where: path}, o)
		}
	}
}

// requireSettings wants the plugin to take the object's settings. A fragment
// says in its first line what it is of.
func requireSettings(t *testing.T, b block, o object) {
	t.Helper()
	kind, config := o.Kind, o.Spec.Config
	switch {
	case kind == "" && strings.HasPrefix(b.text, "# of a "):
		kind, _, _ = strings.Cut(strings.TrimPrefix(b.text, "# of a "), "\n")
		config = o.Config
	case kind == "ConfigMap" && o.Metadata.Labels["velero.io/plugin-config"] == "":
		return
	case kind == "ConfigMap":
		kind = map[string]string{
			defaults.ObjectStore: "BackupStorageLocation", defaults.VolumeSnapshotter: "VolumeSnapshotLocation",
		}[o.Metadata.Labels[defaults.Provider]]
		config = o.Data
	case o.Spec.Provider != "" && o.Spec.Provider != defaults.Provider:
		return
	}
	require.NotEmpty(t, kind, "%s: neither an object nor a fragment that says of what it is", b.where)
	switch kind {
	case "BackupStorageLocation":
		_, err := diagnose(t, o, config)
		require.NoError(t, err, b.where)
	case "VolumeSnapshotLocation":
		s := snapshotter.DefaultSettings()
		require.NoError(t, settings.Decode(config, &s), b.where)
	}
}

// diagnose opens a location with the settings that Velero would hand over.
func diagnose(t *testing.T, o object, config map[string]string) (*objectstore.Diagnosis, error) {
	t.Helper()
	whole := map[string]string{"bucket": o.Spec.ObjectStorage.Bucket, "prefix": o.Spec.ObjectStorage.Prefix}
	certificate, err := base64.StdEncoding.DecodeString(o.Spec.ObjectStorage.CACert)
	require.NoError(t, err)
	whole["caCert"] = string(certificate)
	for key, value := range config {
		whole[key] = value
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	return objectstore.Diagnose(log, whole)
}

// TestProvidersTable compares the columns of the table with what the plugin
// makes of the location below the heading that a row links to.
func TestProvidersTable(t *testing.T) {
	locations := map[string]object{}
	for _, b := range read(t, filepath.Join(root, "docs", "providers.md")).blocks {
		if _, seen := locations[b.heading]; !seen && b.language == "yaml" {
			locations[b.heading] = objects(t, b.where, b.text)[0]
		}
	}
	rows := cells(t, "docs/providers.md", "S3 storages")[1:]
	for _, row := range rows {
		name, _, _ := strings.Cut(strings.TrimPrefix(row[0], "["), "]")
		location, found := locations[name]
		require.True(t, found, "no location below %q", name)
		requireOrigin(t, name, row[1])
		requireRow(t, name, row, location)
	}
	require.Len(t, locations, len(rows), "every storage has a row")
}

// requireOrigin wants the text below a heading to say where it is from, as the
// table does.
func requireOrigin(t *testing.T, name, origin string) {
	t.Helper()
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "docs", "providers.md")).text, "\n## "+name+"\n\n")
	says := map[string]string{"tested": "Tested: ", "from its documentation": "From its documentation, not tested."}[origin]
	require.NotEmpty(t, says, origin)
	require.True(t, strings.HasPrefix(section, says), "%s does not begin with %q", name, says)
}

func requireRow(t *testing.T, name string, row []string, location object) {
	t.Helper()
	config := map[string]string{"credentialsFile": filepath.Join(t.TempDir(), "credentials")}
	require.NoError(t, testbed.WriteCredentials(config["credentialsFile"], "access", "secret"))
	for key, value := range location.Spec.Config {
		config[key] = value
	}
	if config["s3Url"] == "" {
		config["region"] = "eu-central-1" // it would be looked up
	}
	d, err := diagnose(t, location, config)
	require.NoError(t, err, name)
	region, source, err := d.FindRegion(t.Context())
	require.NoError(t, err, name)
	require.Equal(t, strings.Contains(row[3], "found"), source == "by the host of s3Url", "%s: region %s %s", name, region, source)
	_, err = d.Identify(t.Context())
	require.NoError(t, err, name)
	require.NoError(t, d.Connect(t.Context()), name)
	address, err := d.Address(t.Context(), "key")
	require.NoError(t, err, name)
	inHost := strings.HasPrefix(address.Host, location.Spec.ObjectStorage.Bucket+".")
	require.Equal(t, row[4] == "host", inHost, "%s: %s", name, address)
}

// values are the keys of Velero's Helm chart, as its values.yaml documents them
// (vmware-tanzu/helm-charts, charts/velero, 12.1.0), as far as the example uses
// them.
type values struct {
	InitContainers []struct {
		Name            string `json:"name"`
		Image           string `json:"image"`
		ImagePullPolicy string `json:"imagePullPolicy"`
		VolumeMounts    []struct {
			MountPath string `json:"mountPath"`
			Name      string `json:"name"`
		} `json:"volumeMounts"`
	} `json:"initContainers"`
	Credentials struct {
		UseSecret      bool   `json:"useSecret"`
		ExistingSecret string `json:"existingSecret"`
	} `json:"credentials"`
	BackupsEnabled   bool `json:"backupsEnabled"`
	SnapshotsEnabled bool `json:"snapshotsEnabled"`
	Configuration    struct {
		BackupStorageLocation []struct {
			Name     string            `json:"name"`
			Provider string            `json:"provider"`
			Default  bool              `json:"default"`
			Bucket   string            `json:"bucket"`
			Prefix   string            `json:"prefix"`
			Config   map[string]string `json:"config"`
		} `json:"backupStorageLocation"`
		VolumeSnapshotLocation []struct {
			Name     string            `json:"name"`
			Provider string            `json:"provider"`
			Config   map[string]string `json:"config"`
		} `json:"volumeSnapshotLocation"`
		Features string `json:"features"`
	} `json:"configuration"`
	ConfigMaps map[string]struct {
		Labels map[string]string `json:"labels"`
		Data   map[string]string `json:"data"`
	} `json:"configMaps"`
}

func readValues(t *testing.T) values {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "docs", "examples", "helm-values.yaml"))
	require.NoError(t, err)
	text, err := yaml.ToJSON(content)
	require.NoError(t, err)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var v values
	require.NoError(t, decoder.Decode(&v))
	return v
}

// TestHelmValues reads the values for the chart strictly, and what in them is
// for the plugin with the plugin.
func TestHelmValues(t *testing.T) {
	v := readValues(t)
	require.Equal(t, "/target", v.InitContainers[0].VolumeMounts[0].MountPath, "where Velero's chart mounts its plugins")
	require.Equal(t, "plugins", v.InitContainers[0].VolumeMounts[0].Name)
	require.NotContains(t, v.Configuration.Features, "EnableCSI")
	for _, o := range v.objects() {
		requireSettings(t, block{where: "helm-values.yaml"}, o)
	}
	secrets := objects(t, "credentials.yaml", examples(t)[filepath.Join(root, "docs", "examples", "credentials.yaml")])
	require.Contains(t, secrets[0].text, `"name":"`+v.Credentials.ExistingSecret+`"`)
}

// objects are those that the chart makes of the values.
func (v values) objects() []object {
	var all []object
	for _, l := range v.Configuration.BackupStorageLocation {
		o := object{Kind: "BackupStorageLocation"}
		o.Spec.Provider, o.Spec.Config = l.Provider, l.Config
		o.Spec.ObjectStorage.Bucket, o.Spec.ObjectStorage.Prefix = l.Bucket, l.Prefix
		all = append(all, o)
	}
	for _, l := range v.Configuration.VolumeSnapshotLocation {
		o := object{Kind: "VolumeSnapshotLocation"}
		o.Spec.Provider, o.Spec.Config = l.Provider, l.Config
		all = append(all, o)
	}
	for _, m := range v.ConfigMaps {
		o := object{Kind: "ConfigMap", Data: m.Data}
		o.Metadata.Labels = m.Labels
		all = append(all, o)
	}
	return all
}
