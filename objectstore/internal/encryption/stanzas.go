package encryption

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// The plugin's own stanzas in the header of an object. They encrypt to nobody. age
// authenticates them with the rest of the header, and its tools skip types they
// do not know (age-encryption.org/v1, "Recipient stanza").
const (
	// ownStanzas is how their types begin.
	ownStanzas = "longshore.dev/"
	// nameStanza has as its body the object's name: its key relative to the
	// location's prefix, so that a bucket or a prefix may be moved as a whole.
	nameStanza = ownStanzas + "name"
	// recipientsStanza has as its body the recipientsDigest: a header does not show
	// to whom it is.
	recipientsStanza = ownStanzas + "recipients"
)

// ownHeader adds the plugin's own stanzas.
type ownHeader struct {
	name       string
	recipients []age.Recipient // beside which they stand
}

// Wrap implements age.Recipient.
func (h ownHeader) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	digest, err := recipientsDigest(fileKey, h.recipients)
	return []*age.Stanza{{Type: nameStanza, Body: []byte(h.name)}, {Type: recipientsStanza, Body: digest}}, err
}

// WrapWithLabels implements age.RecipientWithLabels: age accepts only recipients
// with equal labels in one file.
func (h ownHeader) WrapWithLabels(fileKey []byte) (stanzas []*age.Stanza, labels []string, err error) {
	if labeled, ok := h.recipients[0].(age.RecipientWithLabels); ok {
		if _, labels, err = labeled.WrapWithLabels(fileKey); err != nil {
			return nil, nil, err
		}
	}
	stanzas, err = h.Wrap(fileKey)
	return stanzas, labels, err
}

// recipientsDigest is 32 bytes by which whoever opens an object knows whether it is
// encrypted to exactly these recipients. To others it tells nothing: it is derived
// from the object's key, by HKDF (RFC 5869) as age derives its own, for this purpose
// alone.
func recipientsDigest(fileKey []byte, recipients []age.Recipient) ([]byte, error) {
	keys := make([]string, 0, len(recipients))
	for _, r := range recipients {
		keys = append(keys, fmt.Sprint(r))
	}
	slices.Sort(keys)
	return hkdf.Key(sha256.New, fileKey, nil, recipientsStanza+"\n"+strings.Join(slices.Compact(keys), "\n"), sha256.Size)
}

// opener tries identities one after the other, and keeps what the plugin's own
// stanzas say.
type opener struct {
	identities []age.Identity
	recipients []age.Recipient // the present ones
	names      []string
	present    bool // the object is encrypted to exactly these
}

// Unwrap implements age.Identity.
func (o *opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	var digests [][]byte
	for _, s := range stanzas {
		switch s.Type {
		case nameStanza:
			o.names = append(o.names, string(s.Body))
		case recipientsStanza:
			digests = append(digests, s.Body)
		}
	}
	for _, identity := range o.identities {
		fileKey, err := identity.Unwrap(stanzas)
		if err != nil {
			continue
		}
		want, err := recipientsDigest(fileKey, o.recipients)
		o.present = len(digests) == 1 && hmac.Equal(digests[0], want)
		return fileKey, err
	}
	return nil, age.ErrIncorrectIdentity
}

// requireName accepts an object of that name. One that a person has encrypted
// with age names nothing; it is accepted unless encryption is required.
func (o *opener) requireName(name string, required bool) error {
	const swapped = "the object stands where another one belongs; look who writes to the bucket"
	switch {
	case len(o.names) == 0 && !required, len(o.names) == 1 && o.names[0] == name:
		return nil
	case len(o.names) == 0:
		return s3err.Hinted(s3err.NotDecrypted, "encrypt it by storing it through the plugin, or read it without encryptionRequired",
			"the encrypted object does not say which object it is, and the location has encryptionRequired")
	}
	return s3err.Hinted(s3err.NotDecrypted, swapped, "the object was stored as %q, and is read as %q", o.names[0], name)
}

// state is what there is to know of the object, once its header is authenticated.
func (o *opener) state() State {
	if o.present && len(o.names) == 1 {
		return Present
	}
	return Former
}
