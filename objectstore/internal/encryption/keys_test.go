package encryption

import (
	"context"
	"crypto/fips140"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// pair is a private key and its public one.
type pair struct{ private, public string }

func classic(t testing.TB) pair {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return pair{identity.String(), identity.Recipient().String()}
}

func hybrid(t testing.TB) pair {
	t.Helper()
	identity, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	return pair{identity.String(), identity.Recipient().String()}
}

// file writes private keys into a file.
func file(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "identities")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	return path
}

// keysOf are the keys of a location that encrypts to public and has the private
// keys.
func keysOf(t testing.TB, public []string, private ...string) *Keys {
	t.Helper()
	s := Settings{Recipients: public, IdentityFile: file(t, private...)}
	keys, err := s.Keys(t.Context(), &s3err.Secrets{})
	require.NoError(t, err)
	return keys
}

func TestNoKeysWithoutSettings(t *testing.T) {
	keys, err := new(Settings).Keys(t.Context(), &s3err.Secrets{})
	require.NoError(t, err)
	require.False(t, keys.Encrypts())
	require.False(t, keys.Decrypts())
}

func TestKeysThatAreNotAccepted(t *testing.T) {
	mine, other, quantum := classic(t), classic(t), hybrid(t)
	for name, c := range map[string]struct {
		settings Settings
		want     []string
	}{
		"a missing file":         {Settings{IdentityFile: "/no/such/file"}, []string{"encryptionIdentityFile", "/no/such/file"}},
		"a key as the file":      {Settings{IdentityFile: mine.private}, []string{"encryptionIdentityFile"}},
		"an empty file":          {Settings{IdentityFile: file(t, "# nothing")}, []string{"encryptionIdentityFile", "no identities", "AGE-SECRET-KEY-"}},
		"a public key as a file": {Settings{IdentityFile: file(t, mine.public)}, []string{"encryptionIdentityFile", "line 1"}},
		"a damaged private key":  {Settings{IdentityFile: file(t, "# mine", mine.private[:40])}, []string{"encryptionIdentityFile", "line 2"}},
		"the key of another": {
			Settings{Recipients: []string{mine.public}, IdentityFile: file(t, other.private)},
			[]string{"encryptionRecipients", "encryptionIdentityFile", "could be read"},
		},
		"the key of another kind": {
			Settings{Recipients: []string{quantum.public}, IdentityFile: file(t, mine.private)},
			[]string{"encryptionRecipients", "could be read"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.settings.Keys(t.Context(), &s3err.Secrets{})
			require.Equal(t, s3err.Invalid, s3err.KindOf(err), "%v", err)
			for _, word := range c.want {
				require.ErrorContains(t, err, word)
			}
			require.NotContains(t, err.Error(), mine.private[:40])
			require.NotContains(t, err.Error(), other.private)
		})
	}
}

// TestKeysOfASecret reads it from where the caller says.
func TestKeysOfASecret(t *testing.T) {
	mine := classic(t)
	ctx := account.WithSecrets(t.Context(), func(_ context.Context, name, key string) ([]byte, error) {
		if name != "keys" || key != "identities" {
			return nil, fmt.Errorf("there is no %s/%s", name, key)
		}
		return []byte(mine.private), nil
	})
	s := Settings{Recipients: []string{mine.public}, IdentitySecret: "keys/identities"}
	keys, err := s.Keys(ctx, &s3err.Secrets{})
	require.NoError(t, err)
	require.True(t, keys.Decrypts())
	s.IdentitySecret = "keys/none"
	_, err = s.Keys(ctx, &s3err.Secrets{})
	require.ErrorContains(t, err, "encryptionIdentitySecret: there is no keys/none")
}

func TestPrivateKeysAreSecrets(t *testing.T) {
	mine := hybrid(t)
	secrets := &s3err.Secrets{}
	s := Settings{IdentityFile: file(t, "# made for a test", "  ", mine.private, "")}
	_, err := s.Keys(t.Context(), secrets)
	require.Error(t, err, "age takes no line of spaces for an empty one")
	require.NotContains(t, secrets.Redact("key "+mine.private), mine.private)
}

func TestBadEncryptionSettings(t *testing.T) {
	mine, quantum := classic(t), hybrid(t)
	for name, c := range map[string]struct {
		settings Settings
		want     []string
	}{
		"no public key":       {Settings{Recipients: []string{"ssh-ed25519 AAAA"}, IdentityFile: "/f"}, []string{"encryptionRecipients", "ssh-ed25519 AAAA", "age1"}},
		"a damaged key":       {Settings{Recipients: []string{mine.public[:50]}, IdentityFile: "/f"}, []string{"encryptionRecipients", mine.public[:50]}},
		"a private key":       {Settings{Recipients: []string{mine.private}, IdentityFile: "/f"}, []string{"encryptionRecipients"}},
		"both kinds":          {Settings{Recipients: []string{mine.public, quantum.public}, IdentityFile: "/f"}, []string{"encryptionRecipients", "age1pq1"}},
		"no private key":      {Settings{Recipients: []string{mine.public}}, []string{"encryptionRecipients", "encryptionIdentitySecret"}},
		"two sources":         {Settings{IdentityFile: "/f", IdentitySecret: "name/key"}, []string{"encryptionIdentityFile", "encryptionIdentitySecret"}},
		"no key in Secret":    {Settings{IdentitySecret: "name"}, []string{"encryptionIdentitySecret", "name", "NAME/KEY"}},
		"no name in Secret":   {Settings{IdentitySecret: "/key"}, []string{"encryptionIdentitySecret", "NAME/KEY"}},
		"a key as Secret":     {Settings{IdentitySecret: mine.private}, []string{"encryptionIdentitySecret", "NAME/KEY"}},
		"required, not given": {Settings{Required: true, IdentityFile: "/f"}, []string{"encryptionRequired", "encryptionRecipients"}},
	} {
		t.Run(name, func(t *testing.T) {
			var p settings.Problems
			c.settings.Validate(&p)
			require.Error(t, p.Err())
			for _, word := range c.want {
				require.ErrorContains(t, p.Err(), word)
			}
			require.NotContains(t, p.Error(), mine.private)
		})
	}
}

// TestOnlyFIPS: with GODEBUG=fips140=only a location with keys is refused before
// a key is read, which would never end for one that is safe from quantum computers.
func TestOnlyFIPS(t *testing.T) {
	if !fips140.Enforced() {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOnlyFIPS$", "-test.v")
		again.Env = append(os.Environ(), "GODEBUG=fips140=only")
		output, err := again.CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Contains(t, string(output), "--- PASS: TestOnlyFIPS")
		return
	}
	for _, s := range []Settings{{Recipients: []string{"age1pq1any"}, IdentityFile: "file"}, {IdentitySecret: "name/key"}} {
		var p settings.Problems
		s.Validate(&p)
		require.ErrorContains(t, p.Err(), "GODEBUG=fips140=only")
	}
	var p settings.Problems
	new(Settings).Validate(&p)
	require.NoError(t, p.Err())
}
