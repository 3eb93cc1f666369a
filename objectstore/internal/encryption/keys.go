package encryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Keys returns the keys that the settings name, and proves that what is encrypted
// with them can be decrypted with them. It tells secrets the private keys.
func (s *Settings) Keys(ctx context.Context, secrets *s3err.Secrets) (*Keys, error) {
	keys := &Keys{required: s.Required}
	if !s.Set() {
		return keys, nil
	}
	keys.recipients = s.parseRecipients(&settings.Problems{})
	setting, where, text, err := s.readIdentities(ctx)
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "%s: %w", setting, err)
	}
	secrets.Add(privateKeys(text)...)
	keys.identities, err = age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "%s: %q: %w; it takes private keys of age, one a line, which begin with AGE-SECRET-KEY-", setting, where, err)
	}
	return keys, keys.prove(setting)
}

// readIdentities returns the text with the private keys, and where it is from.
func (s *Settings) readIdentities(ctx context.Context) (setting, where string, text []byte, err error) {
	if s.IdentitySecret != "" {
		text, err = account.SecretValue(ctx, s.IdentitySecret)
		return "encryptionIdentitySecret", s.IdentitySecret, text, err
	}
	text, err = os.ReadFile(s.IdentityFile)
	if unnamed := (*fs.PathError)(nil); errors.As(err, &unnamed) && settings.LooksSecret(s.IdentityFile) {
		err = unnamed.Err // the name is a key itself
	}
	return "encryptionIdentityFile", s.IdentityFile, text, err
}

// privateKeys are the lines of the text that are no comments.
func privateKeys(text []byte) []string {
	var keys []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys
}

// prove encrypts a text and decrypts it.
func (k *Keys) prove(setting string) error {
	if !k.Encrypts() {
		return nil
	}
	const name = "proof"
	stored, err := k.Encrypt(name, strings.NewReader(name))
	if err != nil {
		return err
	}
	content, _, err := k.Decrypt(name, stored)
	if s3err.KindOf(err) == s3err.NotDecrypted {
		return s3err.Errorf(s3err.Invalid, "encryptionRecipients: %s has the private key of none of them, so that nothing that is written could be read; add the public key of a private key there (age-keygen -y prints it)", setting)
	}
	if err != nil {
		return err
	}
	read, err := io.ReadAll(content)
	if err == nil && string(read) != name {
		err = fmt.Errorf("a text was encrypted, and another one decrypted")
	}
	return err
}
