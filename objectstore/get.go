package objectstore

import (
	"context"
	"io"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// GetObject opens key for reading, and decrypts what is encrypted. ctx also bounds
// the reads. The reader gives io.EOF only after the last byte of the object; it
// never gives (0, nil) for a buffer that is not empty. An object that changes while
// it is read, a body whose end is not proven, content that is not what was encrypted
// under this key and, with verifyDownloads, content that is not what the storage
// says it is are errors. The caller closes the reader, whose method Encrypted tells
// whether the plugin had the object encrypted.
func (s *Store) GetObject(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	content, _, err := s.open(ctx, bucket, key)
	return content, err
}

// open opens key for reading, and tells whether it is encrypted.
func (s *Store) open(ctx context.Context, bucket, key string) (_ io.ReadCloser, encrypted bool, err error) {
	object, err := s.downloader.Open(ctx, bucket, key)
	if err != nil {
		return nil, false, s.failed(s3err.OpGet, bucket, key, err)
	}
	plain, encrypted, err := s.keys.Decrypt(s.nameOf(key), object)
	if err != nil {
		_ = object.Close()
		return nil, encrypted, s.failed(s3err.OpGet, bucket, key, err)
	}
	if !encrypted && s.keys.Decrypts() {
		s.log.WithFields(logrus.Fields{"bucket": bucket, "key": key}).Info("Reading an object that is not encrypted")
	}
	failed := func(err error) error { return s.failed(s3err.OpGet, bucket, key, err) }
	return &opened{Reader: plain, Closer: object, encrypted: encrypted, failed: failed}, encrypted, nil
}

// opened is an object, decrypted.
type opened struct {
	io.Reader
	io.Closer
	encrypted bool
	failed    func(error) error
}

// Encrypted tells whether the plugin had the object encrypted.
func (o *opened) Encrypted() bool { return o.encrypted }

// Read implements io.Reader.
func (o *opened) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end is io.EOF itself; a failure may wrap one
		err = o.failed(err)
	}
	return n, err
}
