package check

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
)

// correctConfig is the hint where the settings of a location are wrong.
var correctConfig = "correct spec.config of the location; every key is in " + docs.Page("configuration.md")

// Kind is a kind of location.
type Kind struct {
	Name   string // in YAML
	plural string // in the API's paths
	plugin string // the kind of plugin that serves it
}

// The kinds of location.
var (
	BackupStorage  = Kind{"BackupStorageLocation", "backupstoragelocations", defaults.ObjectStore}
	VolumeSnapshot = Kind{"VolumeSnapshotLocation", "volumesnapshotlocations", defaults.VolumeSnapshotter}
)

// Location is what a check is told of a location, as its author wrote it.
type Location struct {
	// Subject names it for a person.
	Subject  string
	Provider string
	Config   map[string]string
	Bucket   string
	Prefix   string
	CACert   string
	ReadOnly bool
	// LookOnly has a check write nothing, whatever the location is for.
	LookOnly bool
	// CredentialsFile is the file with the credentials, "" for the usual chain.
	CredentialsFile string
	// CredentialsFrom says where the file's content is from, if not from itself.
	CredentialsFrom string
	// ownCredentials says that those of this machine stand for those of Velero's pod.
	ownCredentials bool
	// Defaults are those of the cluster.
	Defaults defaults.Set

	credential, caCertRef *secretKey
	byFlags               bool // flags are all there is of it
	temporary             bool // CredentialsFile is to be removed
}

// secretKey points to a key of a Secret in Velero's namespace.
type secretKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// object is a location as Kubernetes has it.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Provider      string            `json:"provider"`
		Config        map[string]string `json:"config"`
		Default       bool              `json:"default"`
		AccessMode    string            `json:"accessMode"`
		Credential    *secretKey        `json:"credential"`
		ObjectStorage struct {
			Bucket    string     `json:"bucket"`
			Prefix    string     `json:"prefix"`
			CACert    string     `json:"caCert"`
			CACertRef *secretKey `json:"caCertRef"`
		} `json:"objectStorage"`
	} `json:"spec"`
}

func (o *object) location(kind Kind) (*Location, error) {
	ca, err := base64.StdEncoding.DecodeString(o.Spec.ObjectStorage.CACert)
	if err != nil {
		return nil, fmt.Errorf("%s %s: spec.objectStorage.caCert is not base64: %w", kind.Name, o.Metadata.Name, err)
	}
	return &Location{
		Subject:    kind.Name + " " + strings.TrimPrefix(o.Metadata.Namespace+"/"+o.Metadata.Name, "/"),
		Provider:   o.Spec.Provider,
		Config:     maps.Clone(o.Spec.Config),
		Bucket:     o.Spec.ObjectStorage.Bucket,
		Prefix:     o.Spec.ObjectStorage.Prefix,
		CACert:     string(ca),
		ReadOnly:   o.Spec.AccessMode == "ReadOnly",
		credential: o.Spec.Credential,
		caCertRef:  o.Spec.ObjectStorage.CACertRef,
	}, nil
}

// ReadFile reads the location of that name, or the first one if name is "", from
// YAML or JSON, which may hold other objects as well.
func ReadFile(r io.Reader, kind Kind, name string) (*Location, error) {
	documents := yaml.NewYAMLReader(bufio.NewReader(r))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("no %s in it", strings.TrimSpace(kind.Name+" "+name))
		}
		if err != nil {
			return nil, err
		}
		found, err := readDocument(document, kind, name)
		if found != nil || err != nil {
			return found, err
		}
	}
}

func readDocument(document []byte, kind Kind, name string) (*Location, error) {
	text, err := yaml.ToJSON(document)
	if err != nil {
		return nil, err
	}
	var of struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(text, &of); err != nil || of.Kind != kind.Name || (name != "" && of.Metadata.Name != name) {
		return nil, nil //nolint:nilerr // another kind of document, whatever it is
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("%s %s: %w; values in spec.config are strings: put quotes around numbers, true and false", kind.Name, of.Metadata.Name, err)
	}
	return o.location(kind)
}

// FromFlags makes a location of key=value pairs.
func FromFlags(kind Kind, config map[string]string) *Location {
	l := &Location{Subject: kind.Name + " of the command line", Provider: defaults.Provider, byFlags: true}
	l.Override(kind, config)
	return l
}

// ParsePairs reads key=value pairs. A value may hold commas.
func ParsePairs(pairs []string) (map[string]string, error) {
	config := map[string]string{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("--config %q is not of the form key=value", pair)
		}
		config[key] = value
	}
	return config, nil
}

// outline says for a person how much the author has written.
func (l *Location) outline() string {
	detail := "none, all by default"
	if len(l.Config) > 0 {
		detail = "the location sets " + strings.Join(slices.Sorted(maps.Keys(l.Config)), ", ")
	}
	if l.Defaults.ConfigMap != "" {
		detail += "; and the defaults of ConfigMap " + l.Defaults.ConfigMap
	}
	return detail
}

// ObjectStoreConfig is the config of a backup storage location that Velero would
// give to the plugin.
func (l *Location) ObjectStoreConfig() map[string]string {
	config := map[string]string{}
	maps.Copy(config, l.Config)
	config["bucket"], config["prefix"] = strings.Trim(l.Bucket, "/"), strings.Trim(l.Prefix, "/")
	if l.CACert != "" {
		config["caCert"] = l.CACert
	}
	if l.CredentialsFile != "" {
		config["credentialsFile"] = l.CredentialsFile
	}
	return l.Defaults.Under(config)
}

// inPlaceOf are the keys that take from a file what the location has in a Secret, which
// may be out of reach.
var inPlaceOf = map[string]string{
	"encryptionIdentityFile": "encryptionIdentitySecret", "customerKeyEncryptionFile": "customerKeyEncryptionSecret",
}

// Override puts config in place of what the location says, in its config or elsewhere.
func (l *Location) Override(kind Kind, config map[string]string) {
	if l.Config == nil {
		l.Config = map[string]string{}
	}
	for key := range config {
		delete(l.Config, inPlaceOf[key])
	}
	elsewhere := map[string]*string{"bucket": &l.Bucket, "prefix": &l.Prefix, "credentialsFile": &l.CredentialsFile}
	for key, value := range config {
		switch field := elsewhere[key]; {
		case kind.Name != BackupStorage.Name:
			l.Config[key] = value
		case field != nil:
			*field = value
		case key == "caCert":
			l.SetCACert(value)
		default:
			l.Config[key] = value
		}
	}
}

// SetCACert trusts the CA in place of the location's.
func (l *Location) SetCACert(pem string) { l.CACert, l.caCertRef = pem, nil }

// FromCommandLine tells whether flags are all there is of the location.
func (l *Location) FromCommandLine() bool { return l.byFlags }

// Settings is the config of a volume snapshot location with the defaults.
func (l *Location) Settings() map[string]string { return l.Defaults.Under(l.Config) }
