package settings

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

const redacted = "**redacted**"

// Secret is text that no formatting verb, JSON or YAML encoder prints. Only
// Reveal gives it out.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// Format prints a placeholder, or nothing where the secret is empty, whatever
// the verb.
func (s Secret) Format(state fmt.State, _ rune) {
	if s != "" {
		fmt.Fprint(state, redacted)
	}
}

// MarshalText keeps encoders from writing the text.
func (s Secret) MarshalText() ([]byte, error) {
	return []byte(fmt.Sprint(s)), nil
}

// LooksSecret tells whether text has the form of a secret that stands in the wrong
// place: an AWS secret key, a private key of age, a key of 32 bytes in base64 or
// hex, or a token.
func LooksSecret(text string) bool {
	const (
		awsKey = 40
		token  = 100
	)
	switch {
	case strings.Contains(strings.ToUpper(text), "AGE-SECRET-KEY-"):
		return true
	case len(text) == awsKey:
		return mixed(text) && strings.Trim(text, letters+digits+"/+") == ""
	case len(text) >= token:
		return mixed(text) && strings.Trim(text, letters+digits+"/+=_.-") == ""
	}
	return isKey(text)
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

func mixed(text string) bool {
	return strings.ContainsAny(text, letters[:26]) && strings.ContainsAny(text, letters[26:])
}

func isKey(text string) bool {
	const size = 32
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.URLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == size {
			return true
		}
	}
	return false
}
