package encryption

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Reencrypted reads what is stored of an object that is encrypted again. What it
// gives out was decrypted again before, and it gives io.EOF only when that was, to
// the last byte, the content that went in: an upload that is only committed at the
// end of its body stores nothing that does not open.
type Reencrypted struct {
	opened  io.Reader // decrypts what passes through stored
	stored  bytes.Buffer
	in, out hash.Hash
	chunks  []byte
	err     error // what every further read gives
}

// Reencrypt encrypts content under the object's name. It holds 1 MiB in memory.
// Errors of content come through as they are.
func (k *Keys) Reencrypt(name string, content io.Reader) (*Reencrypted, error) {
	r := &Reencrypted{in: sha256.New(), out: sha256.New(), chunks: make([]byte, chunksAtOnce*chunkSize)}
	stored, err := k.Encrypt(name, io.TeeReader(content, r.in))
	if err != nil {
		return nil, err
	}
	var state State
	r.opened, state, err = k.Examine(name, io.TeeReader(stored, &r.stored))
	if err == nil && state != Present {
		err = s3err.Errorf(s3err.Corrupt, "what was encrypted does not say that it is to the present keys")
	}
	return r, err
}

// Read implements io.Reader.
func (r *Reencrypted) Read(p []byte) (int, error) {
	for r.stored.Len() == 0 && r.err == nil {
		r.next()
	}
	if r.stored.Len() > 0 {
		return r.stored.Read(p)
	}
	return 0, r.err
}

// next decrypts as much as is read at once: stored has only a byte more, which tells
// that something follows.
func (r *Reencrypted) next() {
	n, err := 0, error(nil)
	for n < len(r.chunks) && err == nil {
		var more int
		more, err = r.opened.Read(r.chunks[n:])
		n += more
	}
	r.out.Write(r.chunks[:n])
	switch {
	case err == nil:
		return
	case err == io.EOF && !bytes.Equal(r.in.Sum(nil), r.out.Sum(nil)): //nolint:errorlint // the end is io.EOF itself
		err = s3err.Errorf(s3err.Corrupt, "content was encrypted, and other content decrypted")
	}
	if err != io.EOF { //nolint:errorlint // see above
		r.stored.Reset()
	}
	r.err = err
}

// Err is the error by which reading failed, nil for none.
func (r *Reencrypted) Err() error {
	if r.err == io.EOF { //nolint:errorlint // see above
		return nil
	}
	return r.err
}

// Sum is the SHA-256 of the content, once all of it is read.
func (r *Reencrypted) Sum() []byte { return r.in.Sum(nil) }

// Decrypted reads content that is to be stored as it is.
type Decrypted struct {
	from io.Reader
	sum  hash.Hash
	err  error // what reading ended with
}

// NewDecrypted reads the content of an encrypted object that is to be stored without
// encryption. Content that would then be taken for an encrypted object, since it was
// encrypted twice, is an error.
func NewDecrypted(content io.Reader) (*Decrypted, error) {
	start := bufio.NewReader(content)
	first, err := start.Peek(len(intro))
	switch {
	case string(first) == intro || resembles(first):
		return nil, s3err.Errorf(s3err.NotDecrypted, "its content begins like an encrypted object, and would be taken for one")
	case err != nil && err != io.EOF:
		return nil, err
	}
	return &Decrypted{from: start, sum: sha256.New()}, nil
}

// Read implements io.Reader.
func (d *Decrypted) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.sum.Write(p[:n])
	d.err = err
	return n, err
}

// Err is the error by which reading failed, nil for none.
func (d *Decrypted) Err() error {
	if d.err == io.EOF { //nolint:errorlint // the end is io.EOF itself
		return nil
	}
	return d.err
}

// Sum is the SHA-256 of the content, once all of it is read.
func (d *Decrypted) Sum() []byte { return d.sum.Sum(nil) }
