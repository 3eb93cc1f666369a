package ids

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ParseVolumeID reads what VolumeID.String writes, and nothing else.
func ParseVolumeID(text string) (VolumeID, error) {
	r := readID(volumeScheme, text)
	id := VolumeID{Driver: r.text.driver, Handle: r.text.handle, PV: r.one("pv"), StorageClass: r.one("class")}
	r.require(id.PV != "", "pv")
	return id, r.done("volume", text)
}

// ParseSnapshotID reads what SnapshotID.String and Keys.Sign write, and nothing
// else. It does not check a signature: an ID that came from a backup is for
// [Keys.Parse] to read.
func ParseSnapshotID(text string) (SnapshotID, error) {
	r := readID(snapshotScheme, text)
	id := SnapshotID{
		Driver:       r.text.driver,
		Handle:       r.text.handle,
		Size:         r.size("size"),
		Mode:         r.mode("mode"),
		AccessModes:  r.accessModes("access"),
		Class:        r.one("class"),
		DeleteSecret: r.secret("deleteSecret"),
		ListSecret:   r.secret("listSecret"),
		ManagedBy:    r.one("managedBy"),
		Topology:     r.topology("topology"),
	}
	if r.text.version >= 2 {
		id.AttributesClass = r.one("attributesClass")
		id.Claim = r.secret("claim")
		id.PV = r.one("pv")
		id.Secrets = r.secrets("secret.")
		id.Group = r.group(id.Handle)
		r.signature(text)
	}
	return id, r.done("snapshot", text)
}

// ParseNewVolumeID reads what NewVolumeID.String writes, and nothing else.
func ParseNewVolumeID(text string) (NewVolumeID, error) {
	r := readID(newVolumeScheme, text)
	id := NewVolumeID{Driver: r.text.driver, Handle: r.text.handle, Staging: r.one("staging")}
	r.require(id.Staging != "", "staging")
	return id, r.done("new volume", text)
}

// idReader reads the parts of an ID and keeps the first error.
type idReader struct {
	text *idText
	err  error
}

func readID(scheme, text string) *idReader {
	parsed, err := parseIDText(scheme, text)
	if err != nil {
		parsed = &idText{}
	}
	return &idReader{text: parsed, err: err}
}

func (r *idReader) done(kind, text string) error {
	if err := cmp.Or(r.err, r.text.end()); err != nil {
		return fmt.Errorf("%q is no %s ID of this plugin: %w", Short(text), kind, err)
	}
	return nil
}

func (r *idReader) require(ok bool, key string) {
	if !ok {
		r.fail(fmt.Errorf("it lacks %s", key))
	}
}

func (r *idReader) fail(err error) { r.err = cmp.Or(r.err, err) }

func (r *idReader) one(key string) string {
	value, err := r.text.one(key)
	r.fail(err)
	return value
}

func (r *idReader) size(key string) int64 {
	value := r.one(key)
	quantity, err := resource.ParseQuantity(value)
	if err != nil || quantity.Value() <= 0 || FormatSize(quantity.Value()) != value {
		r.fail(fmt.Errorf("%s: %q is no size", key, Short(value)))
	}
	return quantity.Value()
}

func (r *idReader) mode(key string) corev1.PersistentVolumeMode {
	mode := corev1.PersistentVolumeMode(r.one(key))
	if mode != corev1.PersistentVolumeFilesystem && mode != corev1.PersistentVolumeBlock {
		r.fail(fmt.Errorf("%s: %q is neither Filesystem nor Block", key, Short(string(mode))))
	}
	return mode
}

var knownAccessModes = []corev1.PersistentVolumeAccessMode{
	corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOncePod,
}

func (r *idReader) accessModes(key string) []corev1.PersistentVolumeAccessMode {
	var modes []corev1.PersistentVolumeAccessMode
	for _, value := range r.text.all(key) {
		mode := corev1.PersistentVolumeAccessMode(value)
		if !slices.Contains(knownAccessModes, mode) {
			r.fail(fmt.Errorf("%s: %q is no access mode", key, Short(value)))
		}
		modes = append(modes, mode)
	}
	r.require(len(modes) > 0, key)
	return modes
}

func (r *idReader) secret(key string) SecretRef {
	value := r.one(key)
	namespace, name, ok := strings.Cut(value, "/")
	if value != "" && (!ok || namespace == "" || name == "" || strings.Contains(name, "/")) {
		r.fail(fmt.Errorf("%s: %q is not of the form namespace/name", key, Short(value)))
	}
	return SecretRef{Namespace: namespace, Name: name}
}

func (r *idReader) secrets(prefix string) Secrets {
	var secrets Secrets
	for _, use := range SecretUses {
		secrets = secrets.with(use, r.secret(prefix+use))
	}
	return secrets
}

func (r *idReader) group(handle string) Group {
	group := Group{
		Handle:       r.one("group"),
		Members:      r.text.all("member"),
		Class:        r.one("groupClass"),
		DeleteSecret: r.secret("groupSecret"),
	}
	if group.Handle == "" {
		if group.Class != "" || group.DeleteSecret != (SecretRef{}) || len(group.Members) > 0 {
			r.fail(errors.New("it lacks group"))
		}
		return Group{}
	}
	if !slices.Contains(group.Members, handle) {
		r.fail(errors.New("member: the snapshot itself is not among them"))
	}
	return group
}

// signature reads a signature, which has to be the last field: it stands for all
// the text before it.
func (r *idReader) signature(text string) {
	value := r.one(signatureKey)
	if value != "" && (!signatureForm.MatchString(value) || !strings.HasSuffix(text, signatureField+value)) {
		r.fail(fmt.Errorf("%s: %q is no signature, or not the last field", signatureKey, Short(value)))
	}
}

func (r *idReader) topology(key string) Topology {
	var topology Topology
	for _, value := range r.text.all(key) {
		term, err := parseTerm(value)
		if err != nil {
			r.fail(fmt.Errorf("%s: %w", key, err))
		}
		topology = append(topology, term)
	}
	return topology
}
