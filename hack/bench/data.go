package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
)

const (
	kibibyte = 1 << 10
	mebibyte = 1 << 20
	gibibyte = 1 << 30
)

// noise is what every object is made of: nothing can compress it.
var noise = func() []byte {
	block := make([]byte, mebibyte)
	source := rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'})
	_, _ = source.Read(block) // It never fails.
	return block
}()

// content reads size bytes, noise over and over.
func content(size int64) io.Reader { return io.LimitReader(&repeated{}, size) }

type repeated struct{ at int }

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, noise[r.at:])
	r.at = (r.at + n) % len(noise)
	return n, nil
}

// judge is a writer that takes only what content gives.
type judge struct{ seen int64 }

func (j *judge) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		at := int(j.seen % mebibyte)
		n := min(len(rest), len(noise)-at)
		if !bytes.Equal(rest[:n], noise[at:at+n]) {
			return 0, fmt.Errorf("the content differs within the %d bytes from byte %d on", n, j.seen)
		}
		j.seen += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// put stores an object of content.
func (s *session) put(key string, size int64) error {
	return s.store.PutObject(bucket, key, content(size))
}

// get reads an object and wants every byte as put wrote it.
func (s *session) get(key string, size int64) error {
	body, err := s.store.GetObject(bucket, key)
	if err != nil {
		return err
	}
	defer body.Close()
	seen := &judge{}
	if _, err := io.CopyBuffer(seen, struct{ io.Reader }{body}, make([]byte, 64*kibibyte)); err != nil {
		return fmt.Errorf("get object %s: %w", key, err)
	}
	if seen.seen != size {
		return fmt.Errorf("get object %s: %d bytes instead of %d", key, seen.seen, size)
	}
	return nil
}
