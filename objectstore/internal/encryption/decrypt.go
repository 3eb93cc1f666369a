package encryption

import (
	"bufio"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// intro is how each file of age begins (age-encryption.org/v1, "Header").
const intro = "age-encryption.org/v1\n"

// State is how an object is stored.
type State string

// The states of an object.
const (
	Plain   State = "plain"     // it is not encrypted
	Present State = "upToDate"  // it is encrypted to exactly the present keys
	Former  State = "otherKeys" // it is encrypted to others
)

// Decrypt returns the content of what is stored of an object, and whether it was
// encrypted. name is the object's key relative to the location's prefix.
//
// What object begins with tells whether it is encrypted; nothing beside it is
// asked. The content gives its last byte, and io.EOF, only when all of it is
// proven. Errors of object come through as they are. Without private keys nothing is
// read ahead, and an encrypted object is an error when it is read.
func (k *Keys) Decrypt(name string, object io.Reader) (content io.Reader, encrypted bool, err error) {
	if !k.Decrypts() {
		return &plain{from: object}, false, nil
	}
	content, state, err := k.Examine(name, object)
	if state == Plain && k.required {
		return nil, false, s3err.Hinted(s3err.NotDecrypted, "to read objects from before the encryption, clear encryptionRequired; otherwise look who writes to the bucket",
			"the object is not encrypted, and the location has encryptionRequired")
	}
	return content, state == Present || state == Former, err
}

// Examine is Decrypt that tells the object's state, "" with some errors. It needs
// private keys, and leaves it to the caller whether a plain object is acceptable.
func (k *Keys) Examine(name string, object io.Reader) (content io.Reader, state State, err error) {
	start := bufio.NewReader(object)
	first, err := start.Peek(len(intro))
	switch {
	case string(first) == intro:
		return k.open(name, start)
	case resembles(first):
		return nil, "", s3err.Hinted(s3err.NotDecrypted, altered, "the object begins almost, and not quite, as one that is encrypted")
	case err != nil && err != io.EOF: // the end is io.EOF itself
		return nil, "", err
	}
	return start, Plain, nil
}

// resembles tells whether an object that is not encrypted begins as if its first
// bytes were damaged. What Velero stores begins otherwise: with JSON or gzip.
func resembles(first []byte) bool {
	const most = len(intro) / 2
	equal := 0
	for i := range first {
		if first[i] == intro[i] {
			equal++
		}
	}
	return equal > most
}

func (k *Keys) open(name string, stored *bufio.Reader) (io.Reader, State, error) {
	o := &opener{identities: k.identities, recipients: k.recipients}
	content, err := o.open(stored)
	if err == nil {
		err = o.requireName(name, k.required)
	}
	if err != nil {
		return nil, Former, explained(err)
	}
	return content, o.state(), nil
}

// open authenticates the header, and returns what decrypts that which follows. age
// leaves a bufio.Reader right behind the header.
func (o *opener) open(stored *bufio.Reader) (io.Reader, error) {
	header, err := age.ExtractHeader(stored)
	if err != nil {
		return nil, err
	}
	fileKey, err := age.DecryptHeader(header, o)
	if err != nil {
		return nil, err
	}
	return newPayload(fileKey, stored)
}

// plain reads an object as it is, unless that can be of use to nobody.
type plain struct {
	from  io.Reader
	begun bool
	err   error // what every further read gives
}

// Read implements io.Reader.
func (r *plain) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.from.Read(p)
	if !r.begun && strings.HasPrefix(string(p[:min(n, len(intro))]), intro) {
		r.err = s3err.Hinted(s3err.NotDecrypted, "set encryptionIdentitySecret or encryptionIdentityFile; see "+docs.Page("encryption.md"),
			"the object is encrypted, and the location has no private key")
		return 0, r.err
	}
	r.begun = r.begun || n > 0
	return n, err
}
