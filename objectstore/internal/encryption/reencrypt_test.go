package encryption

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestStates tells to whom an object is encrypted, which its recipients' own stanzas
// do not show.
func TestStates(t *testing.T) {
	one, two, quantum, other := classic(t), classic(t), hybrid(t), hybrid(t)
	for name, c := range map[string]struct {
		was, is []string
		want    State
	}{
		"the same":              {[]string{one.public}, []string{one.public}, Present},
		"in another order":      {[]string{one.public, two.public}, []string{two.public, one.public}, Present},
		"one of them twice":     {[]string{one.public, two.public}, []string{two.public, one.public, one.public}, Present},
		"one more":              {[]string{one.public}, []string{one.public, two.public}, Former},
		"one less":              {[]string{one.public, two.public}, []string{one.public}, Former},
		"another one":           {[]string{one.public, two.public}, []string{one.public, classic(t).public}, Former},
		"safe from quantum":     {[]string{one.public}, []string{quantum.public}, Former},
		"the same, safe":        {[]string{quantum.public, other.public}, []string{other.public, quantum.public}, Present},
		"another one, safe":     {[]string{quantum.public, other.public}, []string{quantum.public}, Former},
		"not safe from quantum": {[]string{quantum.public}, []string{one.public}, Former},
	} {
		private := []string{one.private, quantum.private}
		stored := encrypted(t, keysOf(t, c.was, private...), "name", []byte("content"))
		content, state, err := keysOf(t, c.is, private...).Examine("name", bytes.NewReader(stored))
		require.NoError(t, err, name)
		require.Equal(t, c.want, state, name)
		got, err := io.ReadAll(content)
		require.NoError(t, err, name)
		require.Equal(t, "content", string(got), name)
	}
}

func TestStatesOfOthers(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	byHand, err := age.EncryptReader(bytes.NewReader([]byte("content")), keys.recipients...)
	require.NoError(t, err)
	_, state, err := keys.Examine("name", byHand)
	require.NoError(t, err)
	require.Equal(t, Former, state, "it does not say which object it is")

	_, state, err = keys.Examine("name", bytes.NewReader([]byte(`{"kind":"Backup"}`)))
	require.NoError(t, err)
	require.Equal(t, Plain, state)

	stored, err := os.ReadFile("testdata/classic.age") // from before there was a digest
	require.NoError(t, err)
	_, state, err = golden(t).Examine("backups/golden/classic", bytes.NewReader(stored))
	require.NoError(t, err)
	require.Equal(t, Former, state)
}

// TestDigestIsOfOneObject: the digest of one object says nothing of another one, and
// nothing to who has no private key.
func TestDigestIsOfOneObject(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	one, err := recipientsDigest([]byte("sixteen bytes 01"), keys.recipients)
	require.NoError(t, err)
	two, err := recipientsDigest([]byte("sixteen bytes 02"), keys.recipients)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
	forged := ownHeader{"name", keys.recipients}
	stored, err := age.EncryptReader(bytes.NewReader([]byte("content")), keys.recipients[0], forged, forged)
	require.NoError(t, err)
	_, _, err = keys.Examine("name", stored)
	require.Equal(t, s3err.NotDecrypted, s3err.KindOf(err), "two names and two digests: %v", err)
}

func TestReencrypt(t *testing.T) {
	old, now := classic(t), hybrid(t)
	before, after := keysOf(t, []string{old.public}, old.private), keysOf(t, []string{now.public}, now.private)
	for _, size := range []int{0, 1, 100, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		data := sample(size)
		content, _, err := before.Decrypt("name", bytes.NewReader(encrypted(t, before, "name", data)))
		require.NoError(t, err)
		r, err := after.Reencrypt("name", content)
		require.NoError(t, err)
		stored, err := io.ReadAll(iotest.OneByteReader(r))
		require.NoError(t, err)
		require.NoError(t, r.Err())
		sum := sha256.Sum256(data)
		require.Equal(t, sum[:], r.Sum())
		got, err := read(after, "name", bytes.NewReader(stored))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got), "%d bytes", size)
		_, err = read(before, "name", bytes.NewReader(stored))
		requireRefused(t, nil, nil, err, "the old key")
	}
}

// TestReencryptDamaged: what is not authentic to its end does not become whole.
func TestReencryptDamaged(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	good := encrypted(t, keys, "name", sample(2*chunk+100))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	broken := s3err.Errorf(s3err.Unreachable, "the connection broke")
	for name, object := range map[string]io.Reader{
		"the last byte": bytes.NewReader(flipped), "cut off": bytes.NewReader(good[:len(good)-50]), "more": io.MultiReader(bytes.NewReader(good), bytes.NewReader([]byte{0})),
		"a broken connection": io.MultiReader(bytes.NewReader(good[:chunk+500]), iotest.ErrReader(broken)),
	} {
		content, _, err := keys.Decrypt("name", object)
		require.NoError(t, err, name)
		r, err := keys.Reencrypt("name", content)
		require.NoError(t, err, name)
		_, err = io.ReadAll(r) // io.EOF is no error to it
		require.Error(t, err, name)
		require.ErrorIs(t, r.Err(), err, name)
		require.Contains(t, []s3err.Kind{s3err.NotDecrypted, s3err.Unreachable}, s3err.KindOf(err), name)
		_, err = r.Read(make([]byte, 1))
		require.Error(t, err, "%s: the error stays", name)
	}
}

// TestReencryptOtherContent: an end is only given when what was decrypted again is
// what went in.
func TestReencryptOtherContent(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	for _, size := range []int{0, 100, 2*chunk + 9} {
		r, err := keys.Reencrypt("name", bytes.NewReader(sample(size)))
		require.NoError(t, err)
		r.in.Write([]byte("a bit that fell over in memory"))
		_, err = io.ReadAll(r)
		require.Equal(t, s3err.Corrupt, s3err.KindOf(err), "%v", err)
	}
}
