package encryption

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

const chunk = 64 << 10

// sample returns size bytes that differ between chunks.
func sample(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return data
}

func encrypted(t testing.TB, k *Keys, name string, data []byte) []byte {
	t.Helper()
	stored, err := k.Encrypt(name, bytes.NewReader(data))
	require.NoError(t, err)
	all, err := io.ReadAll(stored)
	require.NoError(t, err)
	return all
}

// read reads an object as a caller does, and returns what was given out before
// the error.
func read(k *Keys, name string, stored io.Reader) ([]byte, error) {
	content, _, err := k.Decrypt(name, stored)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(content)
}

// requireRefused wants an object to be refused before its last byte is given out,
// in words by which Velero does not take it for missing.
func requireRefused(t testing.TB, data, got []byte, err error, what string) {
	t.Helper()
	require.Equal(t, s3err.NotDecrypted, s3err.KindOf(err), "%s: %v", what, err)
	require.True(t, len(got) == 0 || len(got) < len(data) && bytes.HasPrefix(data, got), "%s: %d bytes of %d were given out", what, len(got), len(data))
	require.NotErrorIs(t, err, io.EOF, what)
}

func TestRoundTrip(t *testing.T) {
	one, two := classic(t), classic(t)
	quantum := hybrid(t)
	for name, keys := range map[string]*Keys{
		"one key":               keysOf(t, []string{one.public}, one.private),
		"to two, opened by one": keysOf(t, []string{one.public, two.public}, two.private),
		"safe from quantum":     keysOf(t, []string{quantum.public}, quantum.private),
		"old keys beside":       keysOf(t, []string{one.public}, two.private, quantum.private, one.private),
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1, 100, chunk - 1, chunk, chunk + 1, 2 * chunk, 3*chunk + 7} {
				data := sample(size)
				stored := encrypted(t, keys, "backups/b/b.tar.gz", data)
				require.NotContains(t, string(stored), string(sample(32)))
				for how, r := range map[string]io.Reader{
					"at once": bytes.NewReader(stored), "by half": iotest.HalfReader(bytes.NewReader(stored)),
					"with its end": iotest.DataErrReader(bytes.NewReader(stored)),
				} {
					got, err := read(keys, "backups/b/b.tar.gz", r)
					require.NoError(t, err, "%d bytes, %s", size, how)
					require.True(t, bytes.Equal(data, got), "%d bytes, %s", size, how)
				}
			}
		})
	}
}

func TestReaderContract(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	data := sample(2*chunk + 100)
	content, _, err := keys.Decrypt("name", bytes.NewReader(encrypted(t, keys, "name", data)))
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(content, data))
}

// TestEveryByteFlipped flips each byte of a small object, and each bit of its
// header's first line: whatever comes of it, it is never accepted, neither as what
// was encrypted nor as an object that was not.
func TestEveryByteFlipped(t *testing.T) {
	mine, quantum := classic(t), hybrid(t)
	data := []byte("content of a small object")
	for name, keys := range map[string]*Keys{
		"classic": keysOf(t, []string{mine.public}, mine.private), "hybrid": keysOf(t, []string{quantum.public}, quantum.private),
	} {
		t.Run(name, func(t *testing.T) {
			stored := encrypted(t, keys, "name", data)
			for i := range stored {
				for _, mask := range []byte{0x01, 0x20, 0x80, 0xff} {
					changed := bytes.Clone(stored)
					changed[i] ^= mask
					got, err := read(keys, "name", bytes.NewReader(changed))
					requireRefused(t, data, got, err, fmt.Sprintf("byte %d of %d changed by %#x", i, len(stored), mask))
				}
			}
		})
	}
}

// TestCut cuts an object off at each byte of a small one, and at and around the
// borders of chunks of a large one.
func TestCut(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	for _, size := range []int{25, 2 * chunk, 2*chunk + 25} {
		data := sample(size)
		stored := encrypted(t, keys, "name", data)
		header := len(encrypted(t, keys, "name", nil)) - 16
		lengths := []int{}
		for i := len(intro); i < header+50 && i < len(stored); i++ {
			lengths = append(lengths, i)
		}
		for _, border := range []int{header + chunk + 16, header + 2*(chunk+16)} {
			for off := -17; off <= 17; off++ {
				if border+off < len(stored) {
					lengths = append(lengths, border+off)
				}
			}
		}
		for _, length := range append(lengths, len(stored)-1) {
			got, err := read(keys, "name", bytes.NewReader(stored[:min(length, len(stored)-1)]))
			requireRefused(t, data, got, err, fmt.Sprintf("%d of %d bytes", length, len(stored)))
		}
	}
}

// TestRearranged appends to an object, and exchanges, repeats and leaves out its
// chunks.
func TestRearranged(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	for _, size := range []int{3 * chunk, 3*chunk + 9, 100} {
		data := sample(size)
		stored := encrypted(t, keys, "name", data)
		other := encrypted(t, keys, "name", data)
		for _, more := range [][]byte{{0}, stored, other, stored[len(stored)-16:], make([]byte, chunk+16)} {
			got, err := read(keys, "name", bytes.NewReader(append(bytes.Clone(stored), more...)))
			requireRefused(t, data, got, err, fmt.Sprintf("%d bytes and %d more", size, len(more)))
		}
		if size < 3*chunk {
			continue
		}
		header := len(encrypted(t, keys, "name", nil)) - 16
		at := func(of []byte, i int) []byte {
			return of[header+i*(chunk+16) : min(len(of), header+(i+1)*(chunk+16))]
		}
		for name, chunks := range map[string][][]byte{
			"exchanged":         {at(stored, 1), at(stored, 0), at(stored, 2)},
			"repeated":          {at(stored, 0), at(stored, 0), at(stored, 1), at(stored, 2)},
			"left out":          {at(stored, 0), at(stored, 2)},
			"only the last":     {at(stored, 2)},
			"of another object": {at(stored, 0), at(other, 1), at(stored, 2)},
		} {
			got, err := read(keys, "name", bytes.NewReader(append(bytes.Clone(stored[:header]), bytes.Join(chunks, nil)...)))
			requireRefused(t, data, got, err, name)
		}
	}
}

func TestSwapped(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	stored := encrypted(t, keys, "backups/one/one.tar.gz", []byte("content"))
	for _, name := range []string{"backups/two/two.tar.gz", "backups/one/one-logs.gz", "backups/one/one.tar.gz/", "", "x/backups/one/one.tar.gz"} {
		got, err := read(keys, name, bytes.NewReader(stored))
		requireRefused(t, []byte("content"), got, err, name)
		require.ErrorContains(t, err, `"backups/one/one.tar.gz"`)
	}
	twice, err := age.EncryptReader(strings.NewReader("content"), keys.recipients[0], ownHeader{"a", keys.recipients}, ownHeader{"b", keys.recipients})
	require.NoError(t, err)
	all, err := io.ReadAll(twice)
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		got, err := read(keys, name, bytes.NewReader(all))
		requireRefused(t, []byte("content"), got, err, "an object with two names")
	}
}

// TestOtherKeys has a reader without the right private key, and rotates.
func TestOtherKeys(t *testing.T) {
	old, now := classic(t), hybrid(t)
	before := keysOf(t, []string{old.public}, old.private)
	after := keysOf(t, []string{now.public}, now.private)
	both := keysOf(t, []string{now.public}, now.private, old.private)
	stored := encrypted(t, before, "name", []byte("content"))

	_, err := read(after, "name", bytes.NewReader(stored))
	requireRefused(t, nil, nil, err, "another key")
	require.ErrorContains(t, err, "none of the location's private keys")
	_, err = read(&Keys{}, "name", bytes.NewReader(stored))
	requireRefused(t, nil, nil, err, "no key")
	require.ErrorContains(t, err, "no private key")

	for _, object := range [][]byte{stored, encrypted(t, after, "name", []byte("content"))} {
		got, err := read(both, "name", bytes.NewReader(object))
		require.NoError(t, err)
		require.Equal(t, "content", string(got))
	}
}

func TestNotEncrypted(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	for _, plain := range []string{"", "x", "{}", "a short one", `{"kind":"Backup"}` + strings.Repeat(" ", 100), "\x1f\x8b" + strings.Repeat("z", 3*chunk), "age-encryption"} {
		for _, k := range []*Keys{{}, keys} {
			content, was, err := k.Decrypt("name", strings.NewReader(plain))
			if plain == "age-encryption" && k.Decrypts() {
				requireRefused(t, nil, nil, err, plain)
				continue
			}
			require.NoError(t, err)
			require.False(t, was)
			got, err := io.ReadAll(content)
			require.NoError(t, err)
			require.Equal(t, plain, string(got))
		}
		required := *keys
		required.required = true
		_, err := read(&required, "name", strings.NewReader(plain))
		requireRefused(t, nil, nil, err, "required")
	}
}

// TestOfAge reads what a person has encrypted with age: it does not say which
// object it is.
func TestOfAge(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	stored, err := age.EncryptReader(strings.NewReader("content"), keys.recipients...)
	require.NoError(t, err)
	all, err := io.ReadAll(stored)
	require.NoError(t, err)
	got, err := read(keys, "any name", bytes.NewReader(all))
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
	keys.required = true
	_, err = read(keys, "any name", bytes.NewReader(all))
	requireRefused(t, nil, nil, err, "required")
	require.ErrorContains(t, err, "which object it is")
}

// TestErrorsOfOthers lets the errors of a body and of a download through.
func TestErrorsOfOthers(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	broken := s3err.Errorf(s3err.Unreachable, "the connection broke")
	for _, after := range []int{0, 10, chunk, chunk + 1, 2*chunk + 3} {
		stored, err := keys.Encrypt("name", io.MultiReader(bytes.NewReader(sample(after)), iotest.ErrReader(broken)))
		require.NoError(t, err)
		_, err = io.ReadAll(stored)
		require.ErrorIs(t, err, broken)
		_, err = io.ReadAll(must(keys.Encrypt("name", io.MultiReader(bytes.NewReader(sample(after)), iotest.ErrReader(fmt.Errorf("wrapped: %w", io.EOF))))))
		require.Error(t, err, "an error that only wraps io.EOF is no end")
	}
	_, err := io.ReadAll(must(keys.Encrypt("name", silent{})))
	require.ErrorIs(t, err, io.ErrNoProgress)

	object := encrypted(t, keys, "name", sample(2*chunk+3))
	for after := 0; after < len(object); after += 997 {
		_, err := read(keys, "name", io.MultiReader(bytes.NewReader(object[:after]), iotest.ErrReader(broken)))
		require.True(t, errors.Is(err, broken) || s3err.KindOf(err) == s3err.NotDecrypted, "%d: %v", after, err)
		require.NotErrorIs(t, err, io.EOF)
	}
}

func must(r io.Reader, _ error) io.Reader { return r }

// silent is a body that never comes.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// TestGolden reads objects that earlier versions have written. A file that was
// written once stays as it is, and readable, for ever.
func TestGolden(t *testing.T) {
	keys := golden(t)
	for name, size := range goldenObjects {
		stored, err := os.ReadFile("testdata/" + name + ".age")
		require.NoError(t, err)
		got, err := read(keys, "backups/golden/"+name, bytes.NewReader(stored))
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(sample(size), got), name)
		require.Contains(t, string(stored), "\n-> longshore.dev/name\nYmFja3Vwcy9nb2xkZW4v")
		_, state, err := keys.Examine("backups/golden/"+name, bytes.NewReader(stored))
		require.NoError(t, err)
		require.Equal(t, name == "recipients", state == Present, name)
	}
}

// goldenObjects are what they are called and how large their content is. That of
// recipients says to whom it is encrypted, as all do since.
var goldenObjects = map[string]int{"classic": 100, "classic-two-chunks": chunk + 100, "hybrid": 100, "recipients": 100}

func golden(t testing.TB) *Keys {
	t.Helper()
	s := Settings{IdentityFile: "testdata/identities"}
	keys, err := s.Keys(t.Context(), &s3err.Secrets{})
	require.NoError(t, err)
	keys.recipients = []age.Recipient{keys.identities[0].(*age.X25519Identity).Recipient()}
	return keys
}

// TestLargeHeaders has headers that would fill the memory.
func TestLargeHeaders(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	for name, header := range map[string]io.Reader{
		"an endless line":    io.MultiReader(strings.NewReader(intro+"-> "), endless("x")),
		"an endless body":    io.MultiReader(strings.NewReader(intro+"-> X25519 a\n"), endless(strings.Repeat("A", 64)+"\n")),
		"endless recipients": io.MultiReader(strings.NewReader(intro), endless("-> X25519 a\n\n")),
	} {
		_, err := read(keys, "name", header)
		requireRefused(t, nil, nil, err, name)
	}
}

// endless repeats a text.
type endless string

func (e endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// FuzzDecrypt reads anything. What is accepted as encrypted is one of the golden
// objects, unaltered and under its own name.
func FuzzDecrypt(f *testing.F) {
	keys := golden(f)
	known := map[string]string{}
	for name := range goldenObjects {
		stored, err := os.ReadFile("testdata/" + name + ".age")
		require.NoError(f, err)
		known[string(stored)] = "backups/golden/" + name
		f.Add(stored)
		f.Add(stored[:200])
		f.Add(stored[:len(stored)-1])
		f.Add(append(bytes.Clone(stored), 0))
	}
	f.Add([]byte(intro))
	f.Add([]byte(`{"kind":"Backup"}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		for name, size := range goldenObjects {
			name = "backups/golden/" + name
			content, was, err := keys.Decrypt(name, bytes.NewReader(stored))
			if err == nil && !was {
				got, err := io.ReadAll(content)
				require.NoError(t, err)
				require.True(t, bytes.Equal(stored, got))
			}
			if err == nil && was {
				got, err := io.ReadAll(content)
				require.True(t, err != nil || known[string(stored)] == name, "an altered object was accepted")
				require.True(t, err != nil || bytes.Equal(sample(size), got), "with other content")
			}
		}
	})
}
