// Package encryption encrypts objects before they leave for the storage, and
// decrypts them when they are read.
//
// An encrypted object is a file of the format age (age-encryption.org/v1), with
// nothing of our own around it: `age -d` gives what was stored. Stanzas of its
// header say which object it is and to whom it is encrypted, see nameStanza and
// recipientsStanza. age authenticates the header, and cuts
// the content into chunks of 64 KiB that are authenticated one by one, with their
// order and which is the last. So an object that was altered, cut off or moved to
// another name is an error, and content is only given out when it is proven.
//
// What encryption to a public key does not prove is who wrote an object: whoever
// knows a public key of the location can write one that opens.
package encryption

import (
	"errors"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Keys are what a location encrypts and decrypts with. The zero value does
// neither. They may be used at the same time.
type Keys struct {
	recipients []age.Recipient // objects are encrypted to each
	identities []age.Identity  // private keys, each of which is tried
	required   bool            // an object that is not encrypted is refused
}

// Encrypts tells whether what is written is encrypted.
func (k *Keys) Encrypts() bool { return len(k.recipients) > 0 }

// Decrypts tells whether encrypted objects can be read.
func (k *Keys) Decrypts() bool { return len(k.identities) > 0 }

// Counts returns how many public and how many private keys there are.
func (k *Keys) Counts() (public, private int) { return len(k.recipients), len(k.identities) }

// WithPlain are the same keys for who accepts objects that are not encrypted, or do
// not say which object they are, though encryption is required.
func (k *Keys) WithPlain() *Keys {
	keys := *k
	keys.required = false
	return &keys
}

// Encrypt returns what is stored of an object: body itself where the location
// does not encrypt. name is the object's key relative to the location's prefix.
// Errors of body come through as they are.
func (k *Keys) Encrypt(name string, body io.Reader) (io.Reader, error) {
	if !k.Encrypts() {
		return body, nil
	}
	stored, err := age.EncryptReader(progress{body}, append([]age.Recipient{ownHeader{name, k.recipients}}, k.recipients...)...)
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "encrypt: %w", err)
	}
	return stored, nil
}

// progress keeps a body that gives neither data nor an error from being read for
// ever: age reads until it has a chunk.
type progress struct{ from io.Reader }

// Read implements io.Reader.
func (r progress) Read(p []byte) (int, error) {
	const emptyReads = 100
	for range emptyReads {
		if n, err := r.from.Read(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// explained gives an error of age the words and the advice it lacks.
func explained(err error) error {
	var noMatch *age.NoIdentityMatchError
	switch {
	case s3err.HasKind(err), errors.As(err, new(*s3err.Error)):
		return err
	case errors.As(err, &noMatch):
		return s3err.Hinted(s3err.NotDecrypted, "add the private key to one of the public keys it was encrypted to (of the kinds "+kindsOf(noMatch.StanzaTypes)+"); see "+docs.Page("encryption.md"),
			"the object is encrypted, and none of the location's private keys opens it")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return s3err.Hinted(s3err.NotDecrypted, altered, "the encrypted object is cut off")
	}
	return s3err.Hinted(s3err.NotDecrypted, altered, "%v", err)
}

const altered = "the object is not as it was stored; read an older version of it, if the bucket keeps versions, and look who writes to the bucket"

// kindsOf names the kinds of keys that an object was encrypted to.
func kindsOf(types []string) string {
	var kinds []string
	for _, kind := range types {
		if !strings.HasPrefix(kind, ownStanzas) && len(kinds) < 4 {
			kinds = append(kinds, s3err.Clean(kind, 32))
		}
	}
	return strings.Join(kinds, ", ")
}
