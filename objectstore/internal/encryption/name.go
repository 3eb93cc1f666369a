package encryption

import (
	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// nameStanza is the type of the header's stanza whose body is the object's name:
// its key relative to the location's prefix, so that a bucket or a prefix may be
// moved as a whole. age authenticates it with the rest of the header, and its
// tools pass over types they do not know (age-encryption.org/v1, "Recipient
// stanza").
const nameStanza = "longshore.dev/name"

// nameRecipient adds the stanza with the name. It encrypts to nobody.
type nameRecipient struct {
	name string
	like age.Recipient // beside which it stands
}

// Wrap implements age.Recipient.
func (r nameRecipient) Wrap([]byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: nameStanza, Body: []byte(r.name)}}, nil
}

// WrapWithLabels implements age.RecipientWithLabels: age accepts only recipients
// with equal labels in one file.
func (r nameRecipient) WrapWithLabels(fileKey []byte) (stanzas []*age.Stanza, labels []string, err error) {
	if labeled, ok := r.like.(age.RecipientWithLabels); ok {
		if _, labels, err = labeled.WrapWithLabels(fileKey); err != nil {
			return nil, nil, err
		}
	}
	stanzas, err = r.Wrap(fileKey)
	return stanzas, labels, err
}

// opener tries identities one after the other, and keeps the names that the
// header holds.
type opener struct {
	identities []age.Identity
	names      []string
}

// Unwrap implements age.Identity.
func (o *opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type == nameStanza {
			o.names = append(o.names, string(s.Body))
		}
	}
	for _, identity := range o.identities {
		if fileKey, err := identity.Unwrap(stanzas); err == nil {
			return fileKey, nil
		}
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
