package encryption

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestPayloadLikeAge reads objects that are whole, cut off, longer and altered, at and
// around the borders of chunks and of what is read at once: age's own reader accepts
// the same ones, with the same content.
func TestPayloadLikeAge(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	accepted, refused := 0, 0
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 4*chunk - 1, 4 * chunk, 4*chunk + 1, 5 * chunk, 9*chunk + 7} {
		whole := encrypted(t, keys, "name", sample(size))
		for what, stored := range changed(whole) {
			want, wantErr := readByAge(keys, bytes.NewReader(stored))
			for how, from := range map[string]io.Reader{
				"at once": bytes.NewReader(stored), "by half": iotest.HalfReader(bytes.NewReader(stored)), "with its end": iotest.DataErrReader(bytes.NewReader(stored)),
			} {
				what := fmt.Sprintf("%d bytes, %s, %s", size, what, how)
				got, err := read(keys, "name", from)
				require.Equal(t, wantErr == nil, err == nil, "%s: age says %v, and we say %v", what, wantErr, err)
				if err != nil {
					requireRefused(t, sample(size), got, err, what)
					refused++
					continue
				}
				require.True(t, bytes.Equal(want, got), what)
				accepted++
			}
		}
	}
	require.Positive(t, accepted)
	require.Greater(t, refused, accepted)
}

func readByAge(keys *Keys, stored io.Reader) ([]byte, error) {
	content, err := age.Decrypt(stored, keys.identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(content)
}

// changed are an object as it is, and what may become of it.
func changed(whole []byte) map[string][]byte {
	all := map[string][]byte{"whole": whole}
	for _, n := range []int{1, 15, 16, 17, storedChunkSize - 1, storedChunkSize, storedChunkSize + 1} {
		if n < len(whole)-len(intro) {
			all[fmt.Sprint("without ", n)] = whole[:len(whole)-n]
			all[fmt.Sprint("altered before the last ", n)] = append(append(bytes.Clone(whole[:len(whole)-n-1]), whole[len(whole)-n-1]^1), whole[len(whole)-n:]...)
		}
		all[fmt.Sprint("and more ", n)] = append(bytes.Clone(whole), make([]byte, n)...)
		all[fmt.Sprint("and its end again ", n)] = append(bytes.Clone(whole), whole[len(whole)-min(n, len(whole)):]...)
	}
	return all
}

// TestPayloadByHand makes payloads of chunks that age does not write.
func TestPayloadByHand(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	object := encrypted(t, keys, "name", nil)
	header, err := age.ExtractHeader(bytes.NewReader(object))
	require.NoError(t, err)
	fileKey, err := age.DecryptHeader(header, keys.identities...)
	require.NoError(t, err)
	nonce := object[len(header) : len(header)+nonceSize]
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	require.NoError(t, err)
	aead, err := chacha20poly1305.New(key)
	require.NoError(t, err)
	type piece struct {
		number, size int
		last         bool
	}
	for name, c := range map[string]struct {
		pieces []piece
		good   bool
	}{
		"one":                        {[]piece{{0, 10, true}}, true},
		"two":                        {[]piece{{0, chunk, false}, {1, 10, true}}, true},
		"two full ones":              {[]piece{{0, chunk, false}, {1, chunk, true}}, true},
		"none":                       {nil, false},
		"not the last":               {[]piece{{0, 10, false}}, false},
		"a full one, not the last":   {[]piece{{0, chunk, false}}, false},
		"an empty last one":          {[]piece{{0, chunk, false}, {1, 0, true}}, false},
		"a short one in the middle":  {[]piece{{0, 10, false}, {1, 10, true}}, false},
		"two last ones":              {[]piece{{0, chunk, true}, {1, 10, true}}, false},
		"the same number twice":      {[]piece{{0, chunk, false}, {0, 10, true}}, false},
		"a number is left out":       {[]piece{{0, chunk, false}, {2, 10, true}}, false},
		"larger than a chunk may be": {[]piece{{0, chunk + 1, true}}, false},
	} {
		stored := bytes.Clone(object[:len(header)+nonceSize])
		var content []byte
		for _, p := range c.pieces {
			content = append(content, sample(p.size)...)
			number := [12]byte{10: byte(p.number)}
			if p.last {
				number[11] = 1
			}
			stored = aead.Seal(stored, number[:], sample(p.size), nil)
		}
		got, err := read(keys, "name", bytes.NewReader(stored))
		_, byAge := readByAge(keys, bytes.NewReader(stored))
		require.Equal(t, c.good, byAge == nil, "%s: %v", name, byAge)
		if !c.good {
			require.Equal(t, s3err.NotDecrypted, s3err.KindOf(err), "%s: %v", name, err)
			require.True(t, bytes.HasPrefix(content, got), name)
			continue
		}
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(content, got), name)
	}
}

// TestPayloadTakesNoMemory decrypts without new memory for each chunk.
func TestPayloadTakesNoMemory(t *testing.T) {
	mine := classic(t)
	keys := keysOf(t, []string{mine.public}, mine.private)
	taken := func(chunks int) int64 {
		stored := encrypted(t, keys, "name", sample(chunks*chunk))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		content, _, err := keys.Decrypt("name", bytes.NewReader(stored))
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, content)
		require.NoError(t, err)
		require.EqualValues(t, chunks*chunk, n)
		runtime.ReadMemStats(&after)
		return int64(after.TotalAlloc - before.TotalAlloc)
	}
	require.Less(t, taken(64)-taken(8), int64(2*chunk), "bytes for 56 chunks more")
}
