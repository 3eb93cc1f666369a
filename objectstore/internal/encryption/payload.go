package encryption

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	chunkSize       = 64 << 10                              // of content, but for the last chunk, in bytes
	storedChunkSize = chunkSize + chacha20poly1305.Overhead // of what is stored of it
	chunksAtOnce    = 4                                     // that are read from the storage
	nonceSize       = 16                                    // of what the payload begins with
)

// payload decrypts the content of an object (age-encryption.org/v1, "Payload"): chunks
// in their order, of which one is the last. It gives out no byte of a chunk that is not
// proven, and nothing of the last one before it has seen that nothing follows.
//
// age's own reader takes new memory for each chunk. On the small heap of a plugin that
// cost more processor time than the cipher.
type payload struct {
	from    io.Reader
	cipher  cipher.AEAD
	buffer  []byte // has a byte more than the chunks, which tells that something follows
	stored  []byte // in buffer: read, and not decrypted
	content []byte // in buffer: decrypted, and not given out
	ended   bool   // there is nothing behind stored
	chunks  uint64 // that were decrypted
	nonce   [chacha20poly1305.NonceSize]byte
	err     error // what every further read gives
}

// newPayload reads what follows an object's header.
func newPayload(fileKey []byte, from io.Reader) (*payload, error) {
	from = progress{from}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(from, nonce); err != nil {
		return nil, fmt.Errorf("read the nonce: %w", err)
	}
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(key)
	return &payload{from: from, cipher: aead, buffer: make([]byte, chunksAtOnce*storedChunkSize+1)}, err
}

// Read implements io.Reader.
func (r *payload) Read(p []byte) (int, error) {
	for len(r.content) == 0 && len(p) > 0 && r.err == nil {
		if err := r.next(); err != nil {
			r.err = explained(err)
		}
	}
	if len(r.content) == 0 {
		return 0, r.err
	}
	n := copy(p, r.content)
	r.content = r.content[n:]
	return n, nil
}

// next decrypts a chunk in its place.
func (r *payload) next() error {
	if err := r.fill(); err != nil {
		return err
	}
	chunk := r.stored[:min(storedChunkSize, len(r.stored))]
	r.stored = r.stored[len(chunk):]
	last := r.ended && len(r.stored) == 0
	content, err := r.cipher.Open(chunk[:0], r.nonceOf(last), chunk, nil)
	switch {
	case err != nil && last:
		return errors.New("failed to decrypt and authenticate the last chunk: it was altered, or the object is cut off")
	case err != nil:
		return errors.New("failed to decrypt and authenticate a chunk")
	case last && len(content) == 0 && r.chunks > 0:
		return errors.New("the last chunk is empty") // there is one way to store an object
	case last:
		r.err = io.EOF // behind content
	}
	r.content, r.chunks = content, r.chunks+1
	return nil
}

// fill reads until there is more than a chunk, or all of the object.
func (r *payload) fill() error {
	if r.ended || len(r.stored) > storedChunkSize {
		return nil
	}
	r.stored = r.buffer[:copy(r.buffer, r.stored)]
	for len(r.stored) < len(r.buffer) {
		n, err := r.from.Read(r.buffer[len(r.stored):])
		r.stored = r.buffer[:len(r.stored)+n]
		if err == io.EOF {
			r.ended = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nonceOf is the nonce of the next chunk: its number, and whether it is the last one.
func (r *payload) nonceOf(last bool) []byte {
	binary.BigEndian.PutUint64(r.nonce[len(r.nonce)-9:], r.chunks)
	if last {
		r.nonce[len(r.nonce)-1] = 1
	}
	return r.nonce[:]
}
