package settings

import "fmt"

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
