package objectstore

import (
	"crypto/md5" //nolint:gosec // S3's ETag and Content-MD5
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"
)

// payload is the content of one request, held in a buffer, and its hashes.
type payload struct {
	data   []byte
	sha256 string                // hex, as it is signed
	md5    func() [md5.Size]byte // computed when first asked for
	sums   map[string]string     // x-amz-checksum-… headers
}

// seal hashes data as the store sends it.
func (s *Store) seal(data []byte) *payload {
	p := &payload{data: data}
	p.md5 = sync.OnceValue(func() [md5.Size]byte { return md5.Sum(data) }) //nolint:gosec // see above
	if s.settings.PayloadSigning == "sha256" {
		sum := sha256.Sum256(data)
		p.sha256 = hex.EncodeToString(sum[:])
	}
	if s.checksum != minio.ChecksumNone {
		p.sums = map[string]string{s.checksum.Key(): s.checksum.EncodeToString(data)}
	}
	return p
}

// contentMD5 is the value of the header Content-MD5 where the store sends it, or
// "".
func (s *Store) contentMD5(p *payload) string {
	if !s.sendMD5.Load() {
		return ""
	}
	sum := p.md5()
	return base64.StdEncoding.EncodeToString(sum[:])
}

// etag is the ETag that S3 gives to an object with this content.
func (p *payload) etag() string {
	sum := p.md5()
	return hex.EncodeToString(sum[:])
}

// send calls request with a reader of the payload. net/http may go on reading a
// body after the answer has come; when send returns, nothing reads data any
// more, and its buffer may be given back.
func (p *payload) send(request func(body io.Reader) error) error {
	r := &payloadReader{data: p.data}
	defer r.detach()
	return request(r)
}

// pieceSize is the size, in bytes, of the pieces in which a payload goes to a
// connection.
const pieceSize = 256 << 10

// payloadReader reads a payload until it is detached.
type payloadReader struct {
	mu   sync.Mutex
	data []byte
	gone bool
}

// Read implements io.Reader.
func (r *payloadReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone:
		return 0, io.ErrClosedPipe
	case len(r.data) == 0:
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// WriteTo implements io.WriterTo. What is written is not copied; it goes in
// pieces, so that progress can be seen.
func (r *payloadReader) WriteTo(w io.Writer) (sent int64, err error) {
	for {
		n, err := r.writePiece(w)
		sent += int64(n)
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

func (r *payloadReader) writePiece(w io.Writer) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone:
		return 0, io.ErrClosedPipe
	case len(r.data) == 0:
		return 0, io.EOF
	}
	n, err := w.Write(r.data[:min(len(r.data), pieceSize)])
	r.data = r.data[n:]
	return n, err
}

func (r *payloadReader) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data, r.gone = nil, true
}
