package ids

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	oldKey = "9b0f5a7c2d4e61839b0f5a7c2d4e6183"
	newKey = "c41d88e05b7f4a26c41d88e05b7f4a26"
)

func keysOf(t *testing.T, lines ...string) Keys {
	k, err := ParseKeys([]byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return k
}

func TestSignature(t *testing.T) {
	old, both, renewed := keysOf(t, oldKey), keysOf(t, "", " "+newKey+" \r", oldKey), keysOf(t, newKey)
	for name, id := range snapshotIDs {
		signed := old.Sign(id)
		require.Contains(t, signed, "&signature="+old.String()+":")
		for _, keys := range []Keys{old, both} {
			parsed, err := keys.Parse(signed, true)
			require.NoError(t, err, name)
			require.Equal(t, id, parsed)
		}
		_, err := renewed.Parse(signed, false)
		require.ErrorContains(t, err, "signed with key "+old.String()+", which is not among")
		require.ErrorContains(t, err, "("+renewed.String()+")")
		_, err = renewed.Parse(both.Sign(id), true)
		require.NoError(t, err, "the first key signs")

		_, err = old.Parse(id.String(), true)
		require.ErrorContains(t, err, "not signed")
		_, err = old.Parse(id.String(), false)
		require.NoError(t, err, "backups from before there was a key")
		_, err = Keys{}.Parse(signed, false)
		require.NoError(t, err, "a location without a key")
		_, err = Keys{}.Parse(signed, true)
		require.Error(t, err)
		require.Equal(t, id.String(), Keys{}.Sign(id))
	}
}

// TestChangedIDs changes each character of a signed ID in turn.
func TestChangedIDs(t *testing.T) {
	keys := keysOf(t, oldKey)
	for name, id := range snapshotIDs {
		signed := keys.Sign(id)
		for i := range signed {
			for _, c := range []byte{'A', '0', 'b', '/', '&'} {
				if signed[i] == c {
					continue
				}
				changed := signed[:i] + string(c) + signed[i+1:]
				if parsed, err := keys.Parse(changed, true); err == nil {
					require.Failf(t, "accepted", "%s: %s\n%+v", name, changed, parsed)
				}
			}
		}
		for _, changed := range []string{
			strings.Replace(signed, "&signature=", "&pv=other&signature=", 1),
			signed + "&class=evil",
			signed + "&signature=" + keys.keys[0].sign("x"),
		} {
			_, err := keys.Parse(changed, false)
			require.Error(t, err, changed)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for text, reason := range map[string]string{
		"":                      "no key",
		"\n \n":                 "no key",
		"tooshort":              "line 1 has 8 characters",
		oldKey + "\n\nsecret-7": "line 3 has 8 characters",
	} {
		_, err := ParseKeys([]byte(text))
		require.ErrorContains(t, err, reason)
		require.NotContains(t, err.Error(), "secret-7")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	keys := keysOf(t, oldKey)
	holder := struct{ keys Keys }{keys}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, of := range []any{keys, &keys, holder, &holder, keys.keys} {
			text := fmt.Sprintf(verb, of)
			require.NotContains(t, text, oldKey)
			require.NotContains(t, text, fmt.Sprintf("%x", oldKey))
			require.NotContains(t, text, strings.Trim(fmt.Sprintf("%d", []byte(oldKey)), "[]"))
		}
	}
}

func FuzzSignedText(f *testing.F) {
	keys, err := ParseKeys([]byte(oldKey))
	require.NoError(f, err)
	for _, id := range snapshotIDs {
		f.Add(keys.Sign(id))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := keys.Parse(text, true); err == nil {
			require.Equal(t, keys.Sign(id), text, "accepted, and not what this key signs")
		}
	})
}
