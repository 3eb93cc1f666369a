package backups

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// listLimit bounds what a list may unfold to. The list of a million items has
	// about 50 MB.
	listLimit = 256 << 20
	// metadataLimit bounds velero-backup.json, an object of Kubernetes, which
	// takes none above 1.5 MiB.
	metadataLimit = 16 << 20
)

// bounded is an error where r gives more than limit bytes.
type bounded struct {
	r     io.Reader
	left  int64
	limit int64
}

func atMost(r io.Reader, limit int64) io.Reader { return &bounded{r, limit, limit} }

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("it holds more than %d MiB", b.limit>>20)
	}
	return n, err
}

// decodeGzip reads one JSON value that is compressed, to the end of r.
func decodeGzip(r io.Reader, into any) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return gzipError(err)
	}
	return gzipError(decode(atMost(unzipped, listLimit), into))
}

// decode reads one JSON value, to the end of r.
func decode(r io.Reader, into any) error {
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(into); err != nil {
		return jsonError(err)
	}
	switch _, err := decoder.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return jsonError(err)
	}
	return errors.New("more than one JSON value is in it")
}

// gzipError says in which way data are not what gzip writes.
func gzipError(err error) error {
	switch {
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("it is not compressed by gzip")
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("the checksum of its compression does not fit")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("it ends too early")
	}
	return err
}

func jsonError(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &wrong) {
		return fmt.Errorf("it is not the JSON that Velero writes: %w", err)
	}
	return err
}
