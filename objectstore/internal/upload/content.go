package upload

import (
	"crypto/fips140"
	"crypto/md5" //nolint:gosec // S3's ETag and Content-MD5
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"
)

// content is the body of one request, held in memory, and its hashes.
type content struct {
	data   []byte
	sha256 string            // hex, as it is signed; "" where it is not
	sums   map[string]string // x-amz-checksum-… headers
	sum    func() []byte     // the MD5, computed when first asked for
}

// noMD5 tells whether MD5 cannot be used: it panics with fips140=only.
func noMD5() bool { return fips140.Enabled() }

func (u *upload) seal(data []byte, sign bool) *content {
	c := &content{data: data}
	c.sum = sync.OnceValue(func() []byte {
		sum := md5.Sum(data) //nolint:gosec // see above
		return sum[:]
	})
	if sign {
		c.sign()
	}
	if u.checksum != minio.ChecksumNone {
		c.sums = map[string]string{u.checksum.Key(): u.checksum.EncodeToString(data)}
	}
	return c
}

func (c *content) sign() {
	sum := sha256.Sum256(c.data)
	c.sha256 = hex.EncodeToString(sum[:])
}

// contentMD5 is the value of the header Content-MD5, or "" where it is not sent.
func (u *upload) contentMD5(c *content) string {
	if !u.client.SendMD5.Load() || noMD5() {
		return ""
	}
	return base64.StdEncoding.EncodeToString(c.sum())
}

// etag is the ETag that S3 gives to an object with this content, "" where it
// cannot be computed.
func (c *content) etag() string {
	if noMD5() {
		return ""
	}
	return hex.EncodeToString(c.sum())
}

// answered tells whether the storage answered with the checksum that was sent.
func (u *upload) answered(c *content, stored minio.ObjectPart) bool {
	sum := c.sums[u.checksum.Key()]
	return sum != "" && stored.Checksum(u.checksum) == sum
}

// sumsOf are the checksums in the answer to a PutObject.
func sumsOf(info minio.UploadInfo) minio.ObjectPart {
	return minio.ObjectPart{
		ChecksumCRC32: info.ChecksumCRC32, ChecksumCRC32C: info.ChecksumCRC32C, ChecksumCRC64NVME: info.ChecksumCRC64NVME,
		ChecksumSHA1: info.ChecksumSHA1, ChecksumSHA256: info.ChecksumSHA256,
	}
}

// send calls request with a reader of the content. net/http may go on reading a
// body after the answer has come; when send returns, nothing reads the data any
// more, and its buffer may be given back.
func (c *content) send(request func(body io.Reader) error) error {
	r := &contentReader{data: c.data}
	defer r.end()
	return request(r)
}

// contentReader reads data until it is ended.
type contentReader struct {
	mu    sync.Mutex
	data  []byte
	ended bool
}

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		return 0, io.ErrClosedPipe
	case len(r.data) == 0:
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *contentReader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data, r.ended = nil, true
}
