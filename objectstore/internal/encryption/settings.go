package encryption

import (
	"crypto/fips140"
	"strings"

	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/internal/settings"
)

// Settings are the keys of a location's config that are about encryption by the
// plugin.
type Settings struct {
	Recipients     []string `key:"encryptionRecipients" help:"Public keys of age to which the plugin encrypts each object before it leaves: age1… or, safe from quantum computers, age1pq1…, but not both kinds. Needs the private key of one of them: see encryption.md. Without it objects are stored as Velero gives them."`
	IdentitySecret string   `key:"encryptionIdentitySecret" help:"Secret in Velero's namespace, as NAME/KEY, that holds private keys of age, one a line. Each of them is tried on what is read."`
	IdentityFile   string   `key:"encryptionIdentityFile" help:"The same from a file."`
	Required       bool     `key:"encryptionRequired" help:"Refuse to read an object that is not encrypted, or that does not say which object it is. Without it such an object is read, with a line in the log."`
}

// Validate adds a problem for each rule between and beyond the fields' types
// that is broken.
func (s *Settings) Validate(p *settings.Problems) {
	if s.Set() && fips140.Enforced() {
		p.Addf("encryptionRecipients, encryptionIdentitySecret, encryptionIdentityFile: age's ciphers are not among those that GODEBUG=fips140=only allows")
		return
	}
	s.parseRecipients(p)
	if s.IdentityFile != "" && s.IdentitySecret != "" {
		p.Addf("encryptionIdentityFile: cannot be used together with encryptionIdentitySecret")
	}
	if name, key, _ := strings.Cut(s.IdentitySecret, "/"); s.IdentitySecret != "" && (name == "" || key == "" || strings.Contains(key, "/")) {
		p.Add("encryptionIdentitySecret", s.IdentitySecret, "NAME/KEY of a Secret in Velero's namespace")
	}
	p.Needs(len(s.Recipients) > 0, s.IdentityFile != "" || s.IdentitySecret != "", "encryptionRecipients", "encryptionIdentitySecret or encryptionIdentityFile: nothing may be written that cannot be read")
	p.Needs(s.Required, len(s.Recipients) > 0, "encryptionRequired", "encryptionRecipients: what is written would be refused when it is read")
}

// Set tells whether the location has keys.
func (s *Settings) Set() bool {
	return len(s.Recipients) > 0 || s.IdentityFile != "" || s.IdentitySecret != ""
}

// parseRecipients returns the public keys, and adds a problem for each that is
// none.
func (s *Settings) parseRecipients(p *settings.Problems) []age.Recipient {
	var recipients []age.Recipient
	quantumSafe := 0
	for _, text := range s.Recipients {
		parsed, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(parsed) != 1 {
			p.Add("encryptionRecipients", text, "public keys of age, which begin with age1, separated by commas")
			continue
		}
		if _, ok := parsed[0].(*age.HybridRecipient); ok {
			quantumSafe++
		}
		recipients = append(recipients, parsed...)
	}
	if quantumSafe > 0 && quantumSafe < len(recipients) {
		p.Addf("encryptionRecipients: keys that are safe from quantum computers (age1pq1…) cannot be used together with others (age1…)")
	}
	return recipients
}
