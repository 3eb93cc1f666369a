package ids

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Keys sign the IDs of snapshots and tell which IDs they signed: whoever can
// write to the bucket, but does not have a key, can then neither make an ID nor
// change one. The first key signs, all of them are accepted, so that a key can be
// replaced while backups signed with the former one are still there. The zero
// value has no key: it signs nothing and cannot tell.
//
// A signature is the last field of an ID, "&signature=KEY:MAC". MAC is the
// HMAC-SHA-256 (RFC 2104) of all the text before that field, in base64url without
// padding, and KEY is the key's own ID, which tells a wrong key from a changed ID.
type Keys struct {
	keys []signingKey
}

// signingKey holds its key in a function, where no formatting verb finds it.
type signingKey struct {
	id  string // says which key it is, and not what
	mac func(text string) []byte
}

// minKeyLength keeps out passwords: an ID and its signature are enough to try
// them on.
const minKeyLength = 32

const (
	signatureKey   = "signature"
	signatureField = "&" + signatureKey + "="
	keyIDSize      = 4 // bytes
)

// signatureForm is KEY:MAC.
var signatureForm = regexp.MustCompile(`^[0-9a-f]{8}:[A-Za-z0-9_-]{43}$`)

// ParseKeys reads keys, one a line, of at least 32 characters each; blank lines
// and blanks around a key do not count. No error shows any of the text.
func ParseKeys(text []byte) (Keys, error) {
	var k Keys
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if len(line) < minKeyLength {
			return Keys{}, fmt.Errorf("the key in line %d has %d characters; a key has at least %d, one key a line", i+1, len(line), minKeyLength)
		}
		k.keys = append(k.keys, newSigningKey([]byte(line)))
	}
	if len(k.keys) == 0 {
		return Keys{}, fmt.Errorf("it holds no key; a key has at least %d characters, one key a line", minKeyLength)
	}
	return k, nil
}

func newSigningKey(secret []byte) signingKey {
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	return signingKey{id: hex.EncodeToString(mac("longshore: ID of this key")[:keyIDSize]), mac: mac}
}

func (k signingKey) sign(text string) string {
	return k.id + ":" + base64.RawURLEncoding.EncodeToString(k.mac(text))
}

// Sign returns the text of the ID, with the first key's signature if there is a
// key.
func (k Keys) Sign(id SnapshotID) string {
	text := id.String()
	if len(k.keys) == 0 {
		return text
	}
	return text + signatureField + k.keys[0].sign(text)
}

// Parse reads an ID that came from a backup. With keys, a signature that none of
// them made is always an error; an ID without a signature, as it was written
// before there was a key, is one if required. Without keys a signature is not
// looked at.
func (k Keys) Parse(text string, required bool) (SnapshotID, error) {
	id, err := ParseSnapshotID(text)
	if err != nil {
		return SnapshotID{}, err
	}
	if err := k.check(text, required); err != nil {
		return SnapshotID{}, fmt.Errorf("snapshot ID %q is refused: %w", Short(text), err)
	}
	return id, nil
}

func (k Keys) check(text string, required bool) error {
	body, signature, signed := strings.Cut(text, signatureField)
	if !signed {
		if required {
			return fmt.Errorf("it is not signed, and the setting requireSignature takes signed IDs only")
		}
		return nil
	}
	if len(k.keys) == 0 && !required {
		return nil
	}
	id, _, _ := strings.Cut(signature, ":")
	for _, key := range k.keys {
		if hmac.Equal([]byte(signature), []byte(key.sign(body))) {
			return nil
		}
		if key.id == id {
			return fmt.Errorf("its signature does not fit: it was changed after key %s signed it", Short(id))
		}
	}
	return fmt.Errorf("it was signed with key %s, which is not among those that the setting signingKeySecret names (%s)", Short(id), k)
}

// String returns the IDs of the keys, never a key.
func (k Keys) String() string {
	var all []string
	for _, key := range k.keys {
		all = append(all, key.id)
	}
	return strings.Join(all, ", ")
}
